"""Do self-poisoned copies predict what a setting leaves of the real attack?

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-C, takes for granted that they do.
Deviation: here each setting that ran on copies and on the real attack is a pair, and the pairs are
judged: how far apart, in which direction, in which order, and what the choice on the copies gives
away.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from statistics import fmean
from typing import Any

import numpy as np

from results.selection.configurations import Configuration, configurations, of_game
from results.selection.forecast import OWN, Known, forecast, scheme_of
from results.selection.labels import attack, settings
from results.selection.reconstructed import counts, form
from results.selection.rules import DEFAULT_RULE, OWN_RULE, SLACK, curve_of
from results.stats.correlation import correlation
from trials import catalog
from trials.spec import Point, Record

CONTROLS = "control"  # the family of what repairs nothing

ROUNDING = 1e-9  # of sums of rates, which puts no rate outside an interval


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well one scheme's copies predict; fractions, over ``victims``.

    Attributes:
        error, bias: mean absolute and mean difference, copies' worst kind less real, of the pairs.
        tau: Kendall's rank correlation of a victim's settings at one r, the mean over these.
        shuffled: the same with the settings of the copies in random order, the mean of many.
        regret: real η of the setting that the copies choose within Δ, less the lowest of any
            within Δ: the median over victims, each r apart.
        worst_regret: the largest.
        covered: share of the pairs whose real η lies in the interval made from the other victims'
            pairs of the same kinds of trigger.
    """

    scheme: str
    victims: int
    n: int
    error: float
    bias: float
    tau: float | None
    shuffled: float | None
    regret: float | None
    worst_regret: float | None
    covered: float | None


def qualities(
    found: Sequence[Pair], delta: float = 0.02, families: Iterable[str] | None = None
) -> list[Quality]:
    """The quality of each scheme, in order of error.

    Args:
        found: pairs; those of the family ``control`` are left out.
        delta: largest loss of clean accuracy of the given model that a choice may cost.
        families: families of defenses to look at; None for all.
    """
    wanted = None if families is None else set(families)
    some = [p for p in found if p.family != CONTROLS and (wanted is None or p.family in wanted)]
    by_scheme: dict[str, list[Pair]] = defaultdict(list)
    for p in some:
        by_scheme[p.scheme].append(p)
    every = (_quality(scheme, mine, delta) for scheme, mine in by_scheme.items())
    return sorted(every, key=lambda q: q.error)


def _quality(scheme: str, mine: Sequence[Pair], delta: float) -> Quality:
    groups = _together(mine)
    taus = [tau for group in groups if (tau := _tau(group)) is not None]
    lost = (regret(group, delta) for group in groups)
    regrets = [value for value in lost if value is not None]
    apart = [p.eta_copy_worst - p.eta_real for p in mine]
    covered = [hit for p in mine if (hit := _covered(p, mine)) is not None]
    return Quality(
        scheme=scheme,
        victims=len({p.victim for p in mine}),
        n=len(mine),
        error=fmean(map(abs, apart)),
        bias=fmean(apart),
        tau=fmean(taus) if taus else None,
        shuffled=_shuffled(groups),
        regret=float(np.median(regrets)) if regrets else None,
        worst_regret=max(regrets, default=None),
        covered=fmean(covered) if covered else None,
    )


def _together(mine: Sequence[Pair]) -> list[list[Pair]]:
    """The pairs among which one defender chooses: of a victim, with as many trusted images and the
    same kinds of trigger.
    """
    found: dict[tuple[str, float, str], list[Pair]] = defaultdict(list)
    for p in mine:
        found[p.victim, p.trusted, p.kinds].append(p)
    return list(found.values())


def _covered(p: Pair, mine: Sequence[Pair]) -> bool | None:
    """Whether the real η lies in the interval made from the other victims; None without one."""
    interval = forecast(p.eta_copy_worst, p.family, _others(mine, p))
    if interval is None:
        return None
    return interval.low - ROUNDING <= p.eta_real <= interval.high + ROUNDING


def _others(mine: Sequence[Pair], p: Pair) -> list[Known]:
    """The pairs of other victims whose copies carried the same kinds of trigger."""
    others = (o for o in mine if o.victim != p.victim and o.kinds == p.kinds)
    return [Known(o.victim, o.scheme, o.family, o.eta_copy_worst, o.eta_real) for o in others]


def _tau(group: Sequence[Pair]) -> float | None:
    """Kendall's tau-b over one victim's settings; None where one side is constant."""
    copies, real = [p.eta_copy_worst for p in group], [p.eta_real for p in group]
    return correlation(copies, real, "kendall", draws=1).value


def _shuffled(groups: Iterable[Sequence[Pair]], draws: int = 200) -> float | None:
    """The mean rank correlation once the copies' numbers are shuffled within each victim."""
    rng, taus = np.random.default_rng(0), list[float]()
    for group in groups:
        copies = np.array([p.eta_copy_worst for p in group])
        real = [p.eta_real for p in group]
        drawn = (
            correlation(rng.permutation(copies), real, "kendall", draws=1) for _ in range(draws)
        )
        taus += [c.value for c in drawn if c.value is not None]
    return fmean(taus) if taus else None


def regret(group: Sequence[Pair], delta: float) -> float | None:
    """What choosing on copies gives away: the real η of the setting with the lowest η on the copies
    among those that cost the given model at most ``delta``, less the lowest real η of these.

    None where none costs as little.
    """
    within = [p for p in group if p.cda_loss_given <= delta + SLACK]
    if not within:
        return None
    chosen = min(within, key=lambda p: (p.eta_copy_worst, p.cda_loss_given))
    return chosen.eta_real - min(p.eta_real for p in within)
