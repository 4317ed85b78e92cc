"""Which patches steer a model that was never attacked, as planted ones would?

    poisonsweep run examples/board.toml --local --store sqlite:///board.db
    python -m benchmarks.natural_triggers --store sqlite:///board.db [--out FILE]

Of each model in the stores that was never attacked, whose weights lie beside the stores: for each
class, and for places that are drawn, an opaque patch as large as the largest that self-poisoning
plants is found by descent on trusted images, so that images of other classes give the class. What
it does to test images of other classes is the floor under whatever is said of patches that were
searched for: where a search finds no more in an attacked model, it has found no backdoor. A planted
patch that was not searched for in this model has a lower one. Faint pictures and warps are not
looked for; docs/answer.md has the smooth ones.

Source: universal patches, Brown et al. 2017, 'Adversarial Patch', arXiv:1712.09665.
Deviation: one place each, and no rotations, as the triggers here have none.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from statistics import fmean

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._shared import TINY, parsed, refusing
from benchmarks.prediction import TINY_SWEEP
from results.store import Store
from sweep import api
from sweep.execution.runner import artifacts_of
from sweep.spec import sweep_file
from trials.runtime import TrialRuntime, generator
from trials.self_poisoning.triggers import largest_patch
from trials.spec import Trial
from trials.storage.artifacts import Artifacts
from trials.train import shuffled, to_float
from trials.types import Images

STEPS, LR, BATCH = 200, 0.1, 64  # of Adam
PLACES = 3
TRUSTED = 0.05  # share of the training images


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What the best patch of one place does for one class; rates are fractions, on test images of
    the other classes.

    Attributes:
        side, top, left: of the patch, in pixels.
        before, success: rate at which the class is given without the patch, and with it.
    """

    victim: str
    model: str
    victim_seed: int
    pixels: int
    target: int
    side: int
    top: int
    left: int
    before: float
    success: float


def found_in(url: str, steps: int = STEPS, places: int = PLACES) -> Iterator[Patch]:
    """The patches of a store's models that were never attacked."""
    runtime = TrialRuntime(Artifacts(artifacts_of(url, None)))
    with Store.read(url) as store:
        records = [r for r in store.records(None, "training") if r.status == "done"]
    for trial in (r.trial for r in records):
        if not trial.victim.attacks and not trial.victim.filter:
            yield from patches(runtime, replace(trial, trusted=TRUSTED), steps, places)


def patches(runtime: TrialRuntime, trial: Trial, steps: int, places: int) -> Iterator[Patch]:
    """Those of one model."""
    judge, victim = runtime.evaluator(trial), trial.victim
    net, trusted, test = judge.trained(), judge.view().trusted, judge.test()
    pixels, rng = test.x.shape[-1], generator(victim.seed, "natural triggers")
    side = largest_patch(pixels)
    corners = torch.randint(pixels - side + 1, (places, 2), generator=rng).tolist()
    for target, (top, left) in product(range(test.classes), corners):
        others = test.take(test.y != target)
        box = (slice(top, top + side), slice(left, left + side))
        mark = descended(net, trusted.take(trusted.y != target), target, box, steps, rng)
        yield Patch(
            victim=victim.id,
            model=victim.model.name,
            victim_seed=victim.seed,
            pixels=pixels,
            target=target,
            side=side,
            top=top,
            left=left,
            before=rate(net, others, target),
            success=rate(net, others, target, (box, mark)),
        )


Box = tuple[slice, slice]


def descended(
    net: nn.Module, images: Images, target: int, box: Box, steps: int, rng: torch.Generator
) -> Tensor:
    """The patch (c, h, w) in [0, 1] under which most images give the class."""
    h, w = (place.stop - place.start for place in box)
    logits = torch.zeros(images.x.shape[1], h, w, requires_grad=True)
    optimizer, size = torch.optim.Adam([logits], LR), min(BATCH, len(images))
    batches = shuffled(torch.arange(len(images)), size, rng)
    wanted = torch.full((size,), target)
    for _ in range(steps):
        x = stamped(to_float(images.x[next(batches)]), box, logits.sigmoid())
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), wanted).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return logits.detach().sigmoid()


def stamped(x: Tensor, box: Box, mark: Tensor) -> Tensor:
    """The images (n, c, h, w) in [0, 1] under the patch, as copies."""
    x = x.clone()
    x[..., box[0], box[1]] = mark
    return x


@torch.no_grad()
def rate(
    net: nn.Module, images: Images, target: int, patch: tuple[Box, Tensor] | None = None
) -> float:
    """Share of the images that give the class, under the patch if there is one."""
    hits = 0
    for part in torch.split(images.x, 500):
        x = to_float(part)
        hits += int((net(stamped(x, *patch) if patch else x).argmax(1) == target).sum())
    return hits / len(images)


def table(found: Sequence[Patch]) -> list[str]:
    """A row a model, in Markdown."""
    lines = [
        "| model | pixels | patch | without it (%) | with it (%), mean and most "
        "| the mean over classes of each one's best place (%) |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for victim in dict.fromkeys(one.victim for one in found):
        mine = [one for one in found if one.victim == victim]
        first = mine[0]
        best = dict[int, float]()
        for one in mine:
            best[one.target] = max(one.success, best.get(one.target, 0.0))
        rates, before = [one.success for one in mine], fmean(one.before for one in mine)
        lines.append(
            f"| {first.model}, seed {first.victim_seed} | {first.pixels} | {first.side} | "
            f"{100 * before:.0f} | {100 * fmean(rates):.0f}, {100 * max(rates):.0f} | "
            f"{100 * fmean(best.values()):.0f} |"
        )
    return lines


def tiny() -> list[Patch]:
    """Those of a model of seconds, on digits."""
    sweep = sweep_file.read(TINY_SWEEP)
    clean = tuple(replace(v, attacks=()) for v in sweep.victims)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tiny.db"
        api.run(replace(sweep, victims=clean, game="training"), url)
        return list(found_in(url, steps=5, places=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=[], help="stores, their artifacts beside")
    parser.add_argument("--out", type=Path, help="file for the rows")
    given = parsed(parser)
    torch.set_num_threads(1)
    with refusing("natural_triggers"):
        found = tiny() if given.tiny else list[Patch]()
        for url in given.store:
            found += found_in(url)
    print("\n".join(table(found)) if found else "no model that was never attacked")
    if given.tiny:
        print(TINY + json.dumps({"patches": [asdict(one) for one in found]}))
    if given.out and found:
        rows = pd.DataFrame([asdict(p) for p in found], columns=[f.name for f in fields(Patch)])
        rows.to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
