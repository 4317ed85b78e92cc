"""What each rule's choice gives away on the real attack.

    poisonsweep run examples/answer-small.toml --local --store sqlite:///answer.db
    python -m benchmarks.choices --store sqlite:///answer.db --out benchmarks/results/choices.csv

Reads stores of sweeps with ``judge_all`` and ``cost = "both"``. Of each victim and scheme of
self-poisoning a rule chooses one setting and its step by copies, by the reconstructed trigger, or
by both, among those that cost the victim at most Δ on the held-out images of the real runs, so that
rules alone are compared: a sweep measures costs by other cuts and may pass over some. The regret is
what the choice leaves of the real attack (test images), less the least that any of the settings
leaves at the step that the rule takes of it. A victim that did not learn its attack proves nothing
and is left out, and so is a scheme by which not every setting has run that ran on the real attack.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

import pandas as pd

from benchmarks._shared import TINY, parsed, refusing
from benchmarks.prediction import TINY_SWEEP, of_learned
from results.selection.configurations import (
    Configuration,
    SelectionTask,
    configurations,
    of_game,
)
from results.selection.forecast import scheme_of
from results.selection.labels import attack, settings
from results.selection.rules import (
    DEFAULT_RULE,
    OWN_RULE,
    SLACK,
    WORST_RULE,
    curve_of,
    in_order,
)
from results.store import Store
from sweep import api
from sweep.spec import sweep_file
from trials.spec import Point, Record

RULES = (DEFAULT_RULE, OWN_RULE, WORST_RULE)
Key = tuple[str, float, str]
Runs = list[dict[int, Point]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one rule takes for one victim; fractions.

    Attributes:
        among: settings that cost at most Δ.
        promised: ASR that the rule saw.
        reconstructed: what is left of that trigger; None where it does not count.
        eta, cda_loss: of the real attack, on test images.
        regret: eta less the least of any of the settings.
    """

    victim: str
    model: str
    attack: str
    victim_seed: int
    trusted: float
    scheme: str
    kinds: str
    rule: str
    defense: str
    settings: str
    step: int
    among: int
    promised: float
    reconstructed: float | None
    eta: float
    cda_loss: float
    regret: float


@dataclass(frozen=True, slots=True)
class _Option:
    """One setting at the step that the rule takes of it."""

    order: tuple[float, float, float]
    cost: float  # held out
    configuration: Configuration
    point: Point
    eta: float
    cda_loss: float


def choices(records: Sequence[Record], delta: float = 0.02) -> list[Taken]:
    """The choices of all rules, for every victim, scheme and share of trusted images."""
    real: dict[Key, Runs] = defaultdict(list)
    for r in of_game(records, "robustness"):
        if r.status == "done" and r.trial.method and not r.trial.game.params.get("stop_at"):
            run = {p.step: p for p in curve_of(r)}
            real[r.trial.victim.id, r.trial.trusted, r.trial.method.id].append(run)
    found = list[Taken]()
    for rule in RULES:
        ran: dict[SelectionTask, list[Configuration]] = defaultdict(list)
        for c in configurations(records, rule):
            if c.curve and (c.victim.id, c.task.trusted, c.method.id) in real:
                ran[c.task].append(c)
        for (victim, trusted, _), tried in sorted(ran.items()):
            of_victim = [key for key in real if key[:2] == (victim, trusted)]
            each = (_option(c, real[victim, trusted, c.method.id], rule, delta) for c in tried)
            options = [o for o in each if o is not None]
            if len(tried) == len(of_victim) and options:
                found.append(_choice(options, rule))
    return found


def _option(c: Configuration, runs: Runs, rule: str, delta: float) -> _Option | None:
    """None where all steps cost too much."""

    def lost(step: int, measure: str) -> float:
        return fmean(_value(r[0], measure) - _value(r[step], measure) for r in runs)

    known = set.intersection(*map(set, runs))
    points = [p for p in c.curve[1:] if p.step in known]
    within = [p for p in points if lost(p.step, "val_cda") <= delta + SLACK]
    ranked = [
        (
            in_order(rule, p.asr, c.reconstructed(p), c.method.name),
            lost(p.step, "val_cda"),
            p.step,
            p,
        )
        for p in within
    ]
    if not ranked:
        return None
    order, cost, step, point = min(ranked, key=lambda one: one[:3])
    eta = fmean(run[step].asr for run in runs)
    return _Option(order, cost, c, point, eta, lost(step, "cda"))


def _value(point: Point, measure: str) -> float:
    return point.cda if measure == "cda" else point.extra[measure]


def _scheme(c: Configuration) -> str:
    planted = c.records[0].trial.self_poisoning
    return scheme_of(planted.params) if planted else ""


def _kinds(c: Configuration) -> str:
    planted = c.records[0].trial.self_poisoning
    named = str(planted.params.get("attack", "badnets")) if planted else ""
    return "+".join(sorted(c.kinds)) or named


def _choice(group: Sequence[_Option], rule: str) -> Taken:
    best = min(group, key=lambda o: (o.order, o.cost))
    c = best.configuration
    return Taken(
        victim=c.victim.id,
        model=c.victim.model.name,
        attack=attack(c.victim),
        victim_seed=c.victim.seed,
        trusted=c.task.trusted,
        scheme=_scheme(c),
        kinds=_kinds(c),
        rule=rule,
        defense=c.method.name,
        settings=settings(c.method),
        step=best.point.step,
        among=len(group),
        promised=best.point.asr,
        reconstructed=c.reconstructed(best.point),
        eta=best.eta,
        cda_loss=best.cda_loss,
        regret=best.eta - min(o.eta for o in group),
    )


def choices_in(urls: Iterable[str]) -> list[Taken]:
    """Those in these stores."""
    found: list[Taken] = []
    for url in urls:
        with Store.read(url) as store:
            found += choices(of_learned(list(store.records())))
    return found


def table(found: Sequence[Taken]) -> list[str]:
    """The median and the worst regret of each scheme and rule, in points."""
    lines = [
        "| scheme | kinds | rule | victims | regret (pp), median | worst |",
        "|---|---|---|--:|--:|--:|",
    ]
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for c in found:
        groups[c.scheme, c.kinds, c.rule].append(100 * c.regret)
    for (scheme, kinds, rule), lost in sorted(groups.items()):
        told = f"{len(lost)} | {median(lost):.1f} | {max(lost):.1f}"
        lines.append(f"| `{scheme}` | {kinds} | `{rule}` | {told} |")
    return lines


def tiny() -> list[Taken]:
    """Those of a sweep of seconds, on digits."""
    sweep = sweep_file.read(TINY_SWEEP)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tiny.db"
        api.run(sweep, url)
        return choices_in([url])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=[], help="stores to read")
    parser.add_argument("--out", type=Path, help="file for the rows")
    given = parsed(parser)
    with refusing("choices"):
        found = tiny() if given.tiny else choices_in(given.store)
    print("\n".join(table(found)))
    if given.tiny:
        print(TINY + json.dumps({"choices": [asdict(c) for c in found]}))
    if given.out and found:
        rows = pd.DataFrame([asdict(c) for c in found])
        rows.to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
