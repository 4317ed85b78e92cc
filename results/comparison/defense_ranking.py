"""Which defense with which detector leaves attackers the least room.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-E compares defenses by where the
attackers' front lies.
Deviation: by its hypervolume, over the attacks that every pair of defense and detector has met,
with the share of resamples in which a pair has the lowest; a lowest number alone would be one of
many noisy ones. A defense that costs more clean accuracy than Δ in the mean comes after all that do
not: a ruined model keeps no backdoor either.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from results.comparison.attack_front import Volume, volume
from results.comparison.plane import Mark, Plane
from results.selection.grouping import AttackConfig, Channel
from results.selection.labels import percent
from results.stats.roc import Floats

CERTAIN = 0.95  # share of resamples from which on a pair is called the best without reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Defended:
    """A pair of defense and detector among its rivals."""

    plane: Plane
    volume: Volume
    # share of resamples in which no rival has a lower hypervolume; None where nothing can be said
    lowest: float | None
    marks: tuple[Mark, ...]  # the attacks that the volume is of: those measured for all rivals
    left_out: tuple[str, ...]  # pairs that met fewer attacks

    @property
    def attacks(self) -> int:
        return len(self.marks)

    @property
    def cost(self) -> float:
        """CDA that the defense took, a fraction: the mean over attacks of the mean over victims."""
        return fmean(m.left.cost for m in self.marks)

    @property
    def delta(self) -> float:
        return min(m.left.delta for m in self.marks)

    @property
    def affordable(self) -> bool:
        """The cost is within Δ."""
        return self.cost <= self.delta + 1e-9

    @property
    def few(self) -> bool:
        return any(m.found.few for m in self.marks)


def rankings(planes: Iterable[Plane], channel: Channel | None = None) -> list[list[Defended]]:
    """For each benchmark and r the pairs of defense and detector: those within Δ first, then by
    rising hypervolume.

    Args:
        planes: made with one seed and number of resamples, so that the pairs are compared on the
            same resamples.
        channel: only attacks of this kind; None takes all.
    """
    groups: dict[tuple[str, float], list[Plane]] = defaultdict(list)
    for p in planes:
        if p.of(channel):
            groups[p.benchmark].append(p)
    return [_ranked(group, channel) for _, group in sorted(groups.items())]


def sentence(ranked: Sequence[Defended]) -> str:
    """What a defender should take from one ranking, in one sentence."""
    best, among = ranked[0], _peers(ranked)
    v = best.volume
    sure = f" (95 % interval {v.interval.low:.3f} – {v.interval.high:.3f})" if v.interval else ""
    said = (
        f"At r = {percent(best.plane.trusted)} %, {pair(best.plane)} leaves attackers the least "
        "room: their "
        f"hypervolume over {_many(best.attacks, 'attack')} is {v.value:.3f} of at most 0.5{sure}, "
        "at a mean cost of "
        f"{percent(best.cost)} points of clean accuracy"
    )
    if not best.affordable:
        said += f", more than the {percent(best.delta)} allowed, which no pair keeps"
    if len(ranked) == 1:
        return f"{said}; no other pair of defense and detector met the same attacks."
    dear = len(ranked) - len(among)
    beyond = (
        f" ({_many(dear, 'other pair')} cost{'s' if dear == 1 else ''} more than Δ)" if dear else ""
    )
    if best.lowest is None:
        single = "an attack with a single model says nothing of how far pairs can be told apart"
        return f"{said}; {single}{beyond}."
    few = "; fewer than 20 models a side, so differences mean little" if best.few else ""
    if len(among) == 1:
        return f"{said}, the only pair within Δ{beyond}{few}."
    said += (
        f", the lowest of {len(among)} pairs in {percent(best.lowest, 0)} % of resamples{beyond}"
    )
    rivals = [pair(d.plane) for d in among[1:] if (d.lowest or 0) > (1 - CERTAIN) / 2]
    if best.lowest >= CERTAIN or not rivals:
        return f"{said}{few}."
    return f"{said}; these models do not tell it apart from {', '.join(rivals)}{few}."


def pair(plane: Plane) -> str:
    return f"{plane.defense} with {plane.detector}"


def _peers(ranked: Sequence[Defended]) -> list[Defended]:
    """The pairs that the first is compared with: all within Δ, or all where none is."""
    return [d for d in ranked if d.affordable] or list(ranked)


def _ranked(group: list[Plane], channel: Channel | None) -> list[Defended]:
    met = [_attacks_of(p, channel) for p in group]
    most = max(map(len, met))
    rivals = [p for p, s in zip(group, met, strict=True) if len(s) == most]
    attacks_of_rivals = [s for s in met if len(s) == most]
    common = set.intersection(*attacks_of_rivals)
    if not common:  # as many attacks, but not one that all of them met: nothing can be compared
        rivals, common = rivals[:1], attacks_of_rivals[0]
    compared = set(map(id, rivals))
    out = tuple(pair(p) for p in group if id(p) not in compared)
    found = []
    for p in rivals:
        marks = tuple(m for m in p.of(channel) if m.attack_config in common)
        found.append(
            Defended(plane=p, volume=volume(marks), lowest=None, marks=marks, left_out=out)
        )
    peers = _peers(found)
    if not any(map(_has_a_single_model, peers)):
        shares = _lowest(np.stack([d.volume.draws for d in peers]))
        peers = [replace(d, lowest=float(s)) for d, s in zip(peers, shares, strict=True)]
    planes_of_peers = {id(p.plane) for p in peers}
    beyond = [d for d in found if id(d.plane) not in planes_of_peers]
    return [*sorted(peers, key=_rank), *sorted(beyond, key=_rank)]


def _attacks_of(plane: Plane, channel: Channel | None) -> set[AttackConfig]:
    return {m.attack_config for m in plane.of(channel)}


def _has_a_single_model(defended: Defended) -> bool:
    return any(m.alone for m in defended.marks)


def _rank(d: Defended) -> tuple[float, float, str]:
    return d.volume.value, -(d.lowest or 0), pair(d.plane)


def _lowest(drawn: Floats) -> Floats:
    """Share of resamples (columns) in which each row is lowest; what ties shares the resample."""
    low = np.isclose(drawn, drawn.min(axis=0), rtol=0, atol=1e-12)
    return np.asarray((low / low.sum(axis=0)).mean(axis=1))


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
