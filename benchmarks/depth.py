"""Is a backdoor that is planted in a copy as deep as the one that was trained in, and do repairs
change the two models alike?

    poisonsweep run examples/answer-small.toml --local --store sqlite:///answer.db
    python -m benchmarks.depth --store sqlite:///answer.db [--scheme late] [--out FILE]

Of each victim in the stores, and of each of its self-poisoned copies, whose artifacts lie beside
the stores:

- *depth*: the ASR on test images, and the steps of plain fine-tuning (SGD, learning rate 0.01,
  batches of 64 fit images) after which half of it is left, beside the victim's own, by the same
  images;
- *contamination*: the ASR of the victim's own backdoor on its copies, before any repair: copies of
  which that is lower than on the victim are no copies of it;
- *shift*: what a repair changes in a model's outputs on clean held-out images, softmax(after) less
  softmax(before). Its distance is one less the cosine between the copy's change and the victim's;
  if that says how far the copy's ASR is to be trusted, it rises with the error of the ASR, from
  copy to copy, by each repair.

The judge's trigger and test images are used throughout, so no defender can run this. A victim whose
attack was not learned (ASR below 80 %) proves nothing and is left out.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks._depths import TRAINED_IN, Seen, table
from benchmarks._shared import TINY, parsed, refusing
from benchmarks.prediction import LEARNED, TINY_SWEEP
from results.selection.forecast import scheme_of
from results.selection.labels import attack
from results.store import Store
from sweep import api
from sweep.execution.runner import artifacts_of
from sweep.spec import sweep_file
from trials import catalog
from trials.metrics import accuracy, success
from trials.runtime import TrialRuntime, generator
from trials.spec import MethodConfig, Scalar, Trial
from trials.storage.artifacts import Artifacts
from trials.train import to_float
from trials.types import Cases, DefenderView, Images

FINE_TUNING: dict[str, Scalar] = {"lr": 0.01, "batch": 64}
LOOK, MOST = 10, 400  # steps between two looks, and in all; with no half by then MOST is counted
CASES = 2000  # triggered test images that an ASR is measured on, at most
REPAIRS: dict[str, dict[str, Scalar]] = {
    "fst": {"lr": 0.03, "alpha": 3.5, "batch": 64, "steps": 150, "distill": 1.0},
    "fine_tuning": {"lr": 0.05, "batch": 64, "steps": 100, "schedule": "cosine"},
    "fine_pruning": {"lr": 0.05, "rho": 0.9, "batch": 64, "steps": 100, "schedule": "cosine"},
}


@dataclass(frozen=True, slots=True)
class Model:
    """A victim or copy, with the trusted images that are its own to fit, and its backdoor's
    cases.
    """

    net: nn.Module
    fit: Images
    cases: Cases

    def repaired(self, name: str, params: dict[str, Scalar]) -> nn.Module:
        """After all steps of the defense."""
        *_, last = self._repair(name, params, 10_000)
        return last[1]

    def half_life(self, most: int) -> int:
        """See ``Seen``."""
        half = success(self.net, self.cases) / 2
        for step, net in self._repair("fine_tuning", {**FINE_TUNING, "steps": most}, LOOK):
            if success(net, self.cases) <= half:
                return step
        return most

    def _repair(
        self, name: str, params: dict[str, Scalar], every: int
    ) -> Iterator[tuple[int, nn.Module]]:
        method = catalog.resolve("defenses", MethodConfig(name, params))
        found: Iterator[tuple[int, nn.Module]] = catalog.find("defenses", name)(
            DefenderView(self.net, self.fit), generator(0, "depth"), every, **method.params
        )
        return found


def few(cases: Cases) -> Cases:
    """``CASES`` of them at most, spread over all."""
    keep = torch.linspace(0, len(cases) - 1, min(CASES, len(cases))).round().long()
    return Cases(cases.x[keep], cases.wanted[keep], cases.places[keep])


@torch.no_grad()
def outputs(net: nn.Module, x: Tensor) -> Tensor:
    """Softmax outputs (n, classes) of uint8 images."""
    return torch.cat([net.eval()(to_float(part)).softmax(1) for part in torch.split(x, 500)])


def shifts(model: Model, held: Images, after: Iterable[nn.Module]) -> list[Tensor]:
    """What each repair changes in the outputs on held-out images, flat."""
    before = outputs(model.net, held.x)
    return [(outputs(net, held.x) - before).flatten() for net in after]


@dataclass(frozen=True, slots=True)
class Mended:
    """What the repairs make of a model, fitted on one part of the trusted images."""

    half_life: int
    etas: list[float]
    changed: list[Tensor]


def mended(model: Model, held: Images, most: int) -> Mended:
    """The model under all repairs."""
    after = [model.repaired(name, params) for name, params in REPAIRS.items()]
    etas = [success(net, model.cases) for net in after]
    return Mended(model.half_life(most), etas, shifts(model, held, after))


def on_victim(runtime: TrialRuntime, trials: Sequence[Trial], most: int = MOST) -> Iterator[Seen]:
    """A row for each model and repair.

    Args:
        trials: tuning, one for each way in which copies were poisoned, of one victim, share of
            trusted images and seed.
    """
    first = trials[0]
    judge = runtime.evaluator(first)
    test, goal, net = judge.test(), judge.poisoning().implants[0].goal, judge.trained()
    real = few(goal.cases(test))
    if (whole := success(net, real)) < LEARNED:
        return
    trusted, held = judge.view().trusted, judge.view().trusted.take(runtime.copy(first, 0).report)
    seen = partial(
        Seen,
        victim=first.victim.id,
        attack=attack(first.victim),
        victim_seed=first.victim.seed,
        trusted=first.trusted,
        seed=first.seed,
    )
    given: dict[tuple[int, ...], Mended] = {}  # the victim, by the images that it was fitted on
    for trial in trials:
        assert trial.self_poisoning is not None
        scheme = scheme_of(trial.self_poisoning.params)
        for i in range(int(trial.game.params["copies"])):
            copy = runtime.copy(trial, i)
            fit, cut = trusted.take(copy.fit), tuple(copy.fit.tolist())
            if cut not in given:
                given[cut] = mine = mended(Model(net, fit, real), held, most)
                facts = partial(seen, scheme=TRAINED_IN, copy=len(given) - 1, kind="")
                facts = partial(facts, asr=whole, real_asr=whole, cda=accuracy(net, test))
                yield from _rows(facts, mine, mine)
            own = few(copy.goal.cases(test))
            facts = partial(seen, scheme=scheme, copy=i, kind=copy.kind)
            facts = partial(
                facts,
                asr=success(copy.model, own),
                real_asr=success(copy.model, real),
                cda=accuracy(copy.model, test),
            )
            yield from _rows(facts, mended(Model(copy.model, fit, own), held, most), given[cut])


def _rows(facts: Callable[..., Seen], model: Mended, given: Mended) -> Iterator[Seen]:
    """A row a repair."""
    apart = map(distance, model.changed, given.changed)
    for name, eta, real, shift in zip(REPAIRS, model.etas, given.etas, apart, strict=True):
        yield facts(
            half_life=model.half_life,
            half_life_real=given.half_life,
            repair=name,
            eta=eta,
            eta_real=real,
            shift=shift,
        )


def distance(one: Tensor, other: Tensor) -> float:
    """One less the cosine of the angle between them."""
    return 1 - float(torch.cosine_similarity(one, other, 0))


def seen_in(url: str, schemes: Sequence[str], most: int = MOST) -> Iterator[Seen]:
    """Those of a store's victims; ``schemes``: none for all."""
    runtime = TrialRuntime(Artifacts(artifacts_of(url, None)))
    with Store.read(url) as store:
        records = [r for r in store.records(None, "tuning") if r.status == "done"]
    each: dict[tuple[str, float, int], dict[str, Trial]] = defaultdict(dict)
    for trial in (r.trial for r in records if r.trial.victim.attacks):
        assert trial.self_poisoning is not None
        scheme = scheme_of(trial.self_poisoning.params)
        if not schemes or scheme in schemes:
            mine = each[trial.victim.id, trial.trusted, trial.seed]
            mine.setdefault(scheme, replace(trial, method=None))
    for found in each.values():
        yield from on_victim(runtime, list(found.values()), most)


def tiny() -> list[Seen]:
    """Those of a sweep of seconds, on digits."""
    sweep = sweep_file.read(TINY_SWEEP)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tiny.db"
        api.run(sweep, url)
        return list(seen_in(url, (), most=2 * LOOK))


def rows_of(found: Sequence[Seen]) -> pd.DataFrame:
    """A row each."""
    return pd.DataFrame([asdict(one) for one in found], columns=[f.name for f in fields(Seen)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=[], help="stores, their artifacts beside")
    parser.add_argument("--scheme", nargs="+", default=[], help="these alone, as tables name them")
    parser.add_argument("--out", type=Path, help="file for the rows")
    given = parsed(parser)
    torch.set_num_threads(1)
    with refusing("depth"):
        found = tiny() if given.tiny else list[Seen]()
        for url in given.store:
            for one in seen_in(url, given.scheme):
                found.append(one)
                if given.out:
                    rows_of(found).to_csv(given.out, index=False, float_format="%.5g")
    print("\n".join(table(found)) if found else "no copies of a victim that learned its attack")
    if given.tiny:
        print(TINY + json.dumps({"seen": [asdict(one) for one in found]}))


if __name__ == "__main__":
    main()
