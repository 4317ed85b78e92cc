"""Time and memory of data filters as the training set grows, beside plain training, in one run.

    POISONSWEEP_DATA=... python -m benchmarks.filter_costs [--dataset cifar10 --size 16]
        [--rows N ...] [--model NAME] [--epochs N] [--filters NAME ...] [--most SECONDS]

For each number of rows: a plain training by the recipe ``fast``; the pass that tracks losses after
an epoch; and each filter at the first point of its space, once with nothing kept (its trainings and
passes) and once from what is kept (its own computation, which a further threshold costs). Seconds
are the processor's. Memory is the process's peak over what it held before, and the arrays kept. A
filter that took more than ``--most`` seconds is not run on more rows. Figures for 50,000 rows and
for ImageNet's 1,281,167 are on paper: those of the most rows that were run, times the ratio of
rows to the power of ``GROWTH``, of the same network and images. Writes
benchmarks/results/filter_costs.json.
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from benchmarks._shared import parsed, write
from search_spaces._strategies import grid
from trials import catalog
from trials.crafting import fitted_by
from trials.filters._passes import losses_of
from trials.spec import MethodConfig
from trials.types import Images, Poisoning
from trials.views import DataView

PAPER = (50_000, 1_281_167)  # rows of CIFAR-10 and of ImageNet
GROWTH = {"deep_knn": 2.0}  # power of the rows by which the own computation grows; 1 for others
TRUSTED = 250
_Cost = dict[str, float]


@dataclass
class Kept:
    """What a filter keeps, in memory, and how much it is."""

    found: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def __call__(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if name not in self.found:
            self.found[name] = make()
        return self.found[name]

    @property
    def megabytes(self) -> float:
        """Of all arrays."""
        tensors = chain.from_iterable(kept.values() for kept in self.found.values())
        return sum(t.nbytes for t in tensors) / 2**20


def images_of(asked: argparse.Namespace) -> Images:
    """All training images, shuffled."""
    given = {"size": asked.size} if asked.size else {}
    if asked.dataset == "cifar10":
        given["root"] = "$POISONSWEEP_DATA/cifar10"
    resolved = catalog.resolve("datasets", MethodConfig(asked.dataset, given))
    images: Images = catalog.find("datasets", asked.dataset)("train", **resolved.params)
    return images.take(torch.randperm(len(images), generator=Generator().manual_seed(0)))


def _memory(name: str) -> float:
    """MiB, as Linux counts them for this process; 0 where it is another system."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def cost_of(function: Callable[[], object]) -> _Cost:
    """Processor's seconds, and the peak of memory over what was held before, in MiB."""
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5", encoding="ascii")  # the peak counts from here on
    held, start = _memory("VmRSS"), time.process_time()
    function()
    return {"seconds": time.process_time() - start, "peak_mib": _memory("VmHWM") - held}


class Costs:
    """The costs of plain training and of filters on some images.

    Args:
        asked: model, epochs, recipe.
        train: the rows.
        trusted: images that the filters are given.
    """

    def __init__(self, asked: argparse.Namespace, train: Images, trusted: Images) -> None:
        self.asked, self.train, self.trusted = asked, train, trusted
        training = {"epochs": asked.epochs, "batch": 64, "peak": 0.2}
        given = catalog.resolve("recipes", MethodConfig("fast", training))
        self.fit = fitted_by(partial(catalog.find("recipes", "fast"), **given.params))
        self.model = self.fresh(0)

    def fresh(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        given = catalog.resolve("models", MethodConfig(self.asked.model))
        build = catalog.find("models", self.asked.model)
        model: nn.Module = build(self.train.classes, self.train.x.shape[-1], **given.params)
        return model

    def plain(self) -> _Cost:
        """A training by the recipe; the model is what filters look at."""

        def training() -> None:
            rng = Generator().manual_seed(0)
            self.model = self.fit(self.model, Poisoning(self.train), rng)

        return cost_of(training)

    def tracking(self) -> _Cost:
        """One pass over the rows that writes their losses down."""
        return cost_of(lambda: losses_of(self.model, self.train))

    def of(self, name: str) -> dict[str, _Cost | float]:
        """A filter's first run, its second from what it keeps, and the arrays kept, in MiB."""
        kept = Kept()
        view = DataView(
            train=self.train,
            trusted=self.trusted,
            fresh=self.fresh,
            fit=self.fit,
            trained=lambda: self.model,
            keep=kept,
        )
        first = grid(catalog.find("filter_spaces", name), "small")[0]
        fewer = {"probes": len(self.trusted), "k": 10} if name == "badloss" else {}
        method = catalog.resolve("filters", MethodConfig(name, {**first.params, **fewer}))
        score = partial(catalog.find("filters", name), **method.params)
        run = [cost_of(lambda: score(view, Generator().manual_seed(0))) for _ in range(2)]
        return {"first": run[0], "own": run[1], "kept_mib": kept.megabytes}


def on_paper(name: str, own: float, passes: float, n: int, to: int) -> float:
    """Seconds on ``to`` rows, from those on ``n``: passes and trainings grow as the rows do."""
    ratio = to / n
    return passes * ratio + own * math.pow(ratio, GROWTH.get(name, 1.0))


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of each number of rows, and those on paper."""
    images = images_of(asked)
    trusted = images.take(torch.arange(asked.trusted))
    rest = replace(images, x=images.x[asked.trusted :], y=images.y[asked.trusted :])
    names = asked.filters or catalog.names("filters")
    by_rows, left = dict[int, dict[str, Any]](), list(names)
    Costs(asked, rest.take(torch.arange(asked.rows[0])), trusted).plain()  # loads code
    for n in asked.rows:
        costs = Costs(asked, rest.take(torch.arange(n)), trusted)
        found: dict[str, Any] = {"plain": costs.plain(), "tracking_pass": costs.tracking()}
        for name in list(left):
            found[name] = costs.of(name)
            seconds = found[name]["first"]["seconds"]
            print(f"{n} rows, {name}: {seconds:.2f} s", flush=True)
            if seconds > asked.most:
                left.remove(name)
        by_rows[n] = found
    return {"by_rows": by_rows, "on_paper": {name: paper(by_rows, name) for name in names}}


def paper(by_rows: Mapping[int, Mapping[str, Any]], name: str) -> dict[str, float]:
    """Beside a plain training of as many rows, by that of the most rows: seconds and MiB of a
    filter on more rows than were run.
    """
    n = max(rows for rows, found in by_rows.items() if name in found)
    found, most = by_rows[n], max(by_rows)
    plain = by_rows[most]["plain"]["seconds"] * n / most
    own, kept = found[name]["own"]["seconds"], found[name]["kept_mib"]
    passes = max(0.0, found[name]["first"]["seconds"] - own)
    told = {"from_rows": float(n), "over_plain": (own + passes) / plain}
    for to in PAPER:
        told[f"seconds_{to}"] = on_paper(name, own, passes, n, to)
        told[f"kept_mib_{to}"] = kept * to / n
    return told


def main() -> None:
    """Measure, print a table, write the figures."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--dataset", default="cifar10")
    words.add_argument("--size", type=int, default=16, help="of an image; 0: the data set's own")
    words.add_argument("--model", default="small_cnn")
    words.add_argument("--rows", type=int, nargs="+", default=[1000, 2000, 4000])
    words.add_argument("--trusted", type=int, default=TRUSTED)
    words.add_argument("--epochs", type=int, default=24, help="of the plain training")
    words.add_argument("--filters", nargs="+", default=[], help="left out: all")
    words.add_argument("--most", type=float, default=60, help="seconds; slower ones stop there")
    some = ["spectral_signatures", "deep_knn", "abl"]
    asked = parsed(words, dataset="digits", rows=[300, 600], trusted=100, epochs=2, filters=some)
    torch.set_num_threads(1)
    figures = measure(asked)
    print(f"{'filter':24} {'from':>6} {'x plain':>8}" + "".join(f"{to:>12}" for to in PAPER))
    for name, told in figures["on_paper"].items():
        seconds = "".join(f"{told[f'seconds_{to}']:12.0f}" for to in PAPER)
        print(f"{name:24} {told['from_rows']:6.0f} {told['over_plain']:8.2f}{seconds}")
    write("filter_costs", {"asked": vars(asked), **figures}, tiny=asked.tiny)


if __name__ == "__main__":
    main()
