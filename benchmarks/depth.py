"""Is a backdoor that is planted in a copy as deep as the one that was trained in, and do repairs
change the two models alike?

    poisonsweep run examples/answer-small.toml --local --store sqlite:///answer.db
    python -m benchmarks.depth --store sqlite:///answer.db [--scheme late] [--out FILE]

Of each victim in the stores, and of each of its self-poisoned copies, whose artifacts lie beside
the stores:

- *depth*: the ASR on test images, and the steps of plain fine-tuning (SGD, learning rate 0.01,
  batches of 64 fit images) after which half of it is left;
- *contamination*: the ASR of the victim's own backdoor on its copies, before any repair: copies of
  which that is lower than on the victim are no copies of it;
- *shift*: what a repair changes in a model's outputs on clean held-out images, softmax(after) less
  softmax(before). Its distance is one less the cosine between the copy's change and the victim's;
  if that says how far the copy's ASR is to be trusted, it rises with the error of the ASR.

The judge's trigger and test images are used throughout, so no defender can run this. A victim whose
attack was not learned (ASR below 80 %) proves nothing and is left out.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks._shared import TINY, parsed, refusing
from benchmarks.prediction import LEARNED, TINY_SWEEP
from results.selection.forecast import scheme_of
from results.selection.labels import attack
from results.stats.correlation import correlation
from results.stats.intervals import bootstrap
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
TRAINED_IN = "trained in"  # in place of a scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was measured of a victim or of one of its copies; rates are fractions.

    Attributes:
        scheme: by which the copy was poisoned; ``trained in`` of the victim itself.
        asr, cda: of its own backdoor, and clean, on test images.
        half_life: steps of fine-tuning until half of the ASR is left, at most ``MOST``.
        real_asr: ASR of the victim's attack on it.
        repair: whose figures follow; the others are the same in each of a model's rows.
        eta: ASR of its own backdoor after that repair.
        eta_real: that of the victim's, of the victim.
        shift: distance of what the repair changes from what it changes in the victim.
    """

    victim: str
    attack: str
    victim_seed: int
    scheme: str
    copy: int
    kind: str
    asr: float
    cda: float
    half_life: int
    real_asr: float
    repair: str
    eta: float
    eta_real: float
    shift: float


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
    if success(net, real) < LEARNED:
        return
    trusted = judge.view().trusted
    known = runtime.copy(first, 0)
    victim, held = Model(net, trusted.take(known.fit), real), trusted.take(known.report)
    seen = partial(
        Seen, victim=first.victim.id, attack=attack(first.victim), victim_seed=first.victim.seed
    )
    mended = [victim.repaired(name, params) for name, params in REPAIRS.items()]
    changed, left = shifts(victim, held, mended), [success(m, real) for m in mended]
    whole, cda = success(net, real), accuracy(net, test)
    lives = victim.half_life(most)
    for name, eta in zip(REPAIRS, left, strict=True):
        yield seen(
            scheme=TRAINED_IN, copy=0, kind="", asr=whole, cda=cda, half_life=lives, real_asr=whole,
            repair=name, eta=eta, eta_real=eta, shift=0.0,
        )  # fmt: skip
    for trial in trials:
        assert trial.self_poisoning is not None
        scheme = scheme_of(trial.self_poisoning.params)
        for i in range(int(trial.game.params["copies"])):
            copy = runtime.copy(trial, i)
            own = few(copy.goal.cases(test))
            model = Model(copy.model, trusted.take(copy.fit), own)
            others = [model.repaired(name, params) for name, params in REPAIRS.items()]
            of_copy = partial(
                seen,
                scheme=scheme,
                copy=i,
                kind=copy.kind,
                asr=success(copy.model, own),
                cda=accuracy(copy.model, test),
                half_life=model.half_life(most),
                real_asr=success(copy.model, real),
            )
            apart = map(distance, shifts(model, held, others), changed)
            for name, mended_, eta, shift in zip(REPAIRS, others, left, apart, strict=True):
                yield of_copy(repair=name, eta=success(mended_, own), eta_real=eta, shift=shift)


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


def table(found: Sequence[Seen]) -> list[str]:
    """What each scheme's copies are like, beside the victims themselves, in Markdown."""
    lines = [
        "| models | victims | copies | ASR (%) | half-life (steps), median "
        "| shallower than the victim | the victim's ASR (%), mean and least "
        "| shift and error: Kendall τ |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    real = {one.victim: one for one in found if one.scheme == TRAINED_IN}
    for scheme in dict.fromkeys(one.scheme for one in found):
        rows = [one for one in found if one.scheme == scheme]
        mine = list({(one.victim, one.copy): one for one in rows}.values())
        cells = [scheme, str(len({one.victim for one in mine}))]
        cells.append("" if scheme == TRAINED_IN else str(len(mine)))
        cells.append(f"{100 * fmean(one.asr for one in mine):.0f}")
        cells.append(f"{median(one.half_life for one in mine):.0f}")
        if scheme == TRAINED_IN:
            cells += ["", f"{100 * fmean(one.real_asr for one in mine):.0f}", ""]
        else:
            less = sum(one.half_life < real[one.victim].half_life for one in mine)
            rates = [one.real_asr for one in mine]
            cells.append(f"{less} of {len(mine)}")
            cells.append(f"{100 * fmean(rates):.0f}, {100 * min(rates):.0f}")
            cells.append(_tau(rows))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _tau(rows: Sequence[Seen]) -> str:
    """Of the distance and the error, within each victim; the mean over victims."""
    taus = list[float]()
    for victim in dict.fromkeys(one.victim for one in rows):
        mine = [one for one in rows if one.victim == victim]
        errors = [abs(one.eta - one.eta_real) for one in mine]
        tau = correlation([one.shift for one in mine], errors, "kendall", draws=1).value
        taus += [] if tau is None else [tau]
    if len(taus) < 2:
        return f"{taus[0]:.2f}" if taus else "-"
    low, high = bootstrap(taus)
    return f"{fmean(taus):.2f} ({low:.2f} to {high:.2f})"


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
