"""How well self-poisoned copies predict what settings leave of the real attack: how far apart, in
which direction, in which order, and what the choice on the copies gives away.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from results.comparison.prediction import Pair
from results.selection.forecast import Known, forecast
from results.selection.rules import SLACK
from results.stats.correlation import correlation
from results.stats.intervals import Interval, bootstrap

CONTROLS = "control"  # the family of what repairs nothing

ROUNDING = 1e-9  # of sums of rates, which puts no rate outside an interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well one scheme's copies predict; fractions, over ``victims``.

    Attributes:
        error, bias: mean absolute and mean difference, copies' worst kind less real, of the pairs.
        tau: Kendall's rank correlation of a victim's settings at one r, the mean over these;
            ``tau_interval`` resamples the victims (95 %), of two or more.
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
    tau_interval: Interval | None
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
    victims = [_on_one(scheme, group, delta) for group in groups]
    taus = [one.tau for one in victims if one.tau is not None]
    regrets = [one.regret for one in victims if one.regret is not None]
    apart = [p.eta_copy_worst - p.eta_real for p in mine]
    covered = [hit for p in mine if (hit := _covered(p, mine)) is not None]
    return Quality(
        scheme=scheme,
        victims=len({p.victim for p in mine}),
        n=len(mine),
        error=fmean(map(abs, apart)),
        bias=fmean(apart),
        tau=fmean(taus) if taus else None,
        tau_interval=bootstrap(taus) if len(taus) > 1 else None,
        shuffled=_shuffled(groups),
        regret=float(np.median(regrets)) if regrets else None,
        worst_regret=max(regrets, default=None),
        covered=fmean(covered) if covered else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnVictim:
    """How well one scheme's copies of one victim predict; fractions as in ``Quality``."""

    scheme: str
    victim: str
    attack: str
    victim_seed: int
    kinds: str
    n: int
    error: float
    tau: float | None
    regret: float | None


def by_victim(found: Sequence[Pair], delta: float = 0.02) -> list[OnVictim]:
    """Each victim by each scheme, in order of attack, seed and scheme; without controls."""
    by_scheme: dict[str, list[Pair]] = defaultdict(list)
    for p in found:
        if p.family != CONTROLS:
            by_scheme[p.scheme].append(p)
    every = list[OnVictim]()
    for scheme, mine in by_scheme.items():
        every += [_on_one(scheme, group, delta) for group in _together(mine)]
    return sorted(every, key=lambda o: (o.attack, o.victim_seed, o.victim, o.scheme))


def _on_one(scheme: str, group: Sequence[Pair], delta: float) -> OnVictim:
    first = group[0]
    return OnVictim(
        scheme=scheme,
        victim=first.victim,
        attack=first.attack,
        victim_seed=first.victim_seed,
        kinds=first.kinds,
        n=len(group),
        error=fmean(abs(p.eta_copy_worst - p.eta_real) for p in group),
        tau=_tau(group),
        regret=regret(group, delta),
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
