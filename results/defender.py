"""Which defense with which detector leaves attackers the least room.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-E compares defenses by where the attackers' front lies.
Deviation: by its hypervolume, over the attacks that every pair of defense and detector has met, with the share of
resamples in which a pair has the lowest; a lowest number alone would be one of many noisy ones.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from results.attacker import Volume, volume
from results.plane import Mark, Plane
from results.roc import Floats
from results.setups import Channel
from results.words import percent

CERTAIN = 0.95  # share of resamples from which on a pair is called the best without reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Defended:
    """A pair of defense and detector among its rivals."""

    plane: Plane
    volume: Volume
    lowest: float  # share of resamples in which no rival has a lower hypervolume; ties are split
    marks: tuple[Mark, ...]  # behind the volume: attacks that all rivals have met
    left_out: tuple[str, ...]  # pairs that met fewer attacks

    @property
    def attacks(self) -> int:
        return len(self.marks)


def rankings(planes: Iterable[Plane], channel: Channel | None = None) -> list[list[Defended]]:
    """For each scene and r the pairs of defense and detector, the lowest hypervolume first.

    Args:
        planes: made with one seed and number of resamples, so that the pairs are compared on the same resamples.
        channel: only attacks of this kind; None takes all.
    """
    groups: dict[tuple[str, float], list[Plane]] = defaultdict(list)
    for p in planes:
        if p.of(channel):
            groups[p.scene].append(p)
    return [_ranked(group, channel) for _, group in sorted(groups.items())]


def sentence(ranked: Sequence[Defended]) -> str:
    """What a defender should take from one ranking, in one sentence."""
    best = ranked[0]
    v = best.volume
    said = (
        f"At r = {percent(best.plane.trusted)} %, {pair(best.plane)} leaves attackers the least room: their "
        f"hypervolume over {_many(best.attacks, 'attack')} is {v.value:.3f} of at most 0.5 "
        f"(95 % interval {v.interval.low:.3f} – {v.interval.high:.3f})"
    )
    if len(ranked) == 1:
        return f"{said}; no other pair of defense and detector met the same attacks."
    said += f", the lowest of {len(ranked)} pairs of defense and detector in {percent(best.lowest, 0)} % of resamples"
    rivals = [pair(d.plane) for d in ranked[1:] if d.lowest > (1 - CERTAIN) / 2]
    if best.lowest >= CERTAIN or not rivals:
        return f"{said}."
    return f"{said}; these models do not tell it apart from {', '.join(rivals)}."


def pair(plane: Plane) -> str:
    return f"{plane.defense} with {plane.detector}"


def _ranked(group: list[Plane], channel: Channel | None) -> list[Defended]:
    met = [{m.setup for m in p.of(channel)} for p in group]
    most = max(map(len, met))
    rivals = [p for p, s in zip(group, met, strict=True) if len(s) == most]
    common = set.intersection(*(s for s in met if len(s) == most))
    if not common:  # as many attacks, but not one that all of them met: nothing can be compared
        rivals, common = rivals[:1], next(s for s in met if len(s) == most)
    out = tuple(pair(p) for p in group if not any(p is r for r in rivals))
    kept = [tuple(m for m in p.of(channel) if m.setup in common) for p in rivals]
    found = [volume(marks) for marks in kept]
    shares = _lowest(np.stack([v.draws for v in found]))
    ranked = [
        Defended(plane=p, volume=v, lowest=float(lowest), marks=marks, left_out=out)
        for p, v, lowest, marks in zip(rivals, found, shares, kept, strict=True)
    ]
    return sorted(ranked, key=lambda d: (d.volume.value, -d.lowest, pair(d.plane)))


def _lowest(drawn: Floats) -> Floats:
    """Share of resamples (columns) in which each row is lowest; what ties shares the resample."""
    low = np.isclose(drawn, drawn.min(axis=0), rtol=0, atol=1e-12)
    return np.asarray((low / low.sum(axis=0)).mean(axis=1))


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
