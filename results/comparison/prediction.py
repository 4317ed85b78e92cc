"""Do self-poisoned copies predict what a setting leaves of the real attack?

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-C, takes for granted that they do.
Deviation: here each setting that ran on copies and on the real attack is a pair; how good the pairs
are is told in ``prediction_quality``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from statistics import fmean
from typing import Any

from results.selection.configurations import Configuration, configurations, of_game
from results.selection.forecast import OWN, scheme_of
from results.selection.labels import attack, settings
from results.selection.reconstructed import counts, form
from results.selection.rules import DEFAULT_RULE, OWN_RULE, SLACK, curve_of
from trials import catalog
from trials.spec import Point, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One setting of a defense on the copies of a victim and on the victim; fractions.

    Attributes:
        victim: id of the victim; ``attack`` and ``victim_seed`` say which.
        trusted: r of the defender's images.
        scheme: how the copies were poisoned.
        kinds: of trigger on the copies, joined by a plus sign; of the scheme ``reconstructed``
            ``mask`` or ``smooth``.
        defense, family, settings: what was done; ``settings`` as 'lr = 0.1, steps = 100'.
        step: at which both were measured.
        eta_copy_worst, eta_copy_mean: ASR left on the copies, of the worst kind and on the mean.
        eta_real: ASR left of the real attack, on ``n_real`` triggered test images.
        cda_loss_copy, cda_loss_given: clean accuracy lost by the copies, on select images, and by
            the given model on held-out trusted images.
        cda_loss_real: that by the given model on test images.
    """

    victim: str
    attack: str
    victim_seed: int
    trusted: float
    scheme: str
    kinds: str
    defense: str
    family: str
    settings: str
    step: int
    eta_copy_worst: float
    eta_copy_mean: float
    eta_real: float
    cda_loss_copy: float
    cda_loss_given: float
    cda_loss_real: float
    n_real: int

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


def pairs(records: Iterable[Record], rule: str = DEFAULT_RULE, delta: float = 0.02) -> list[Pair]:
    """Each setting that ran on copies of a victim and, to its end, on the victim itself.

    Both are measured at the step of the copies' curve that leaves the least of the worst kind among
    those that cost the given model no more than ``delta`` on held-out images; where all cost more,
    at the one that costs least.

    A setting of which the given model's reconstructed trigger counts has a second pair, of the
    scheme ``reconstructed``, with what is left of that trigger in place of the copies' ASR.

    Args:
        records: tuning, and whole runs of the robustness game (``judge_all``).
        rule: what the ASR of copies of several kinds is.
        delta: largest CDA loss, a fraction.
    """
    records = list(records)
    real: dict[tuple[str, float, str], list[Record]] = defaultdict(list)
    for r in of_game(records, "robustness"):
        if r.status == "done" and r.trial.method and not r.trial.game.params.get("stop_at"):
            real[r.trial.victim.id, r.trial.trusted, _id(r)].append(r)

    def paired(c: Configuration) -> list[Pair]:
        key = (c.victim.id, c.task.trusted, c.method.id)
        return _paired(c, real[key], delta) if c.curve and key in real else []

    found = list(chain.from_iterable(map(paired, configurations(records, rule))))
    own = (c for c in configurations(records, OWN_RULE) if counts(c.records))

    def of_trigger(c: Configuration) -> list[Pair]:
        kinds = form(c.records)
        return [
            replace(p, scheme=OWN, kinds=kinds, eta_copy_mean=p.eta_copy_worst)
            for p in (paired(c) if kinds else [])
        ]

    each = chain.from_iterable(map(of_trigger, own))
    # the same for every way in which copies were poisoned
    once = {(p.victim, p.trusted, p.kinds, p.defense, p.settings): p for p in each}
    return found + list(once.values())


def _id(record: Record) -> str:
    assert record.trial.method is not None
    return record.trial.method.id


def _paired(c: Configuration, real: Sequence[Record], delta: float) -> list[Pair]:
    """The pair, where both curves have a step in common besides their start; else none."""
    runs = [_by_step(r) for r in real]
    known = set.intersection(*map(set, runs))
    both = [p for p in c.curve[1:] if p.step in known]
    if not both:
        return []
    cost = {p.step: _lost(runs, p.step, "val_cda") for p in both}
    within = [p for p in both if cost[p.step] <= delta + SLACK]
    chosen = min(within, key=lambda p: (p.asr, cost[p.step])) if within else None
    at = chosen or min(both, key=lambda p: cost[p.step])
    planted = c.records[0].trial.self_poisoning
    params: Mapping[str, Any] = planted.params if planted else {}
    return [
        Pair(
            victim=c.victim.id,
            attack=attack(c.victim),
            victim_seed=c.victim.seed,
            trusted=c.task.trusted,
            scheme=scheme_of(params),
            kinds="+".join(sorted(c.kinds)) or str(params.get("attack", "badnets")),
            defense=c.method.name,
            family=catalog.describe("defenses", c.method.name).family,
            settings=settings(c.method),
            step=at.step,
            eta_copy_worst=at.asr,
            eta_copy_mean=_mean_over_copies(c, at.step),
            eta_real=fmean(run[at.step].asr for run in runs),
            cda_loss_copy=_cda_of_copies(c, 0) - _cda_of_copies(c, at.step),
            cda_loss_given=cost[at.step],
            cda_loss_real=_lost(runs, at.step, "cda"),
            n_real=int(real[0].metrics.get("n_triggered", 0)),
        )
    ]


def _lost(runs: Sequence[Mapping[int, Point]], step: int, what: str) -> float:
    """Mean loss since step 0 of ``cda``, or of a number in ``extra``."""

    def value(point: Point) -> float:
        return point.cda if what == "cda" else point.extra[what]

    return fmean(value(run[0]) - value(run[step]) for run in runs)


def _cda_of_copies(c: Configuration, step: int) -> float:
    """Also where the CDA of a point is the given model's."""
    points = [_by_step(r)[step] for r in c.records]
    return fmean(p.extra.get("cda_copies", p.cda) for p in points)


def _mean_over_copies(c: Configuration, step: int) -> float:
    runs = [_by_step(r) for r in c.records]
    return fmean(run[step].asr for run in runs)


def _by_step(record: Record) -> dict[int, Point]:
    return {p.step: p for p in curve_of(record)}
