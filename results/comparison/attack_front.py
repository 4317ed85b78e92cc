"""The attacker's front in the plane, how sure it is, and the area that it dominates.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-E and figure 7.
Deviation: the front is recomputed for every resample of models. The best of noisy points looks
better than it is, and in a resample once more, so the resampled hypervolumes lie a little above the
measured one.

The attacker wants η high and ρ low. Fronts and areas are those of ``results.stats.pareto`` with ρ
as the first coordinate and η as the second. Only in the hypervolume does a ρ below 0.5 count as
0.5, so that from η = 0, ρ = 1 the area is at most 0.5: more is not to be had from a detector that
guesses.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from results.comparison.plane import Mark
from results.stats import pareto, roc
from results.stats.intervals import Interval

CHANCE = 0.5
WORST = (1.0, 0.0)  # ρ, η: where an attacker has nothing
BANDED = 200  # resamples behind an attainment band


class Volume(NamedTuple):
    """The attackers' hypervolume in [0, 0.5]; less is better for the defender."""

    value: float
    interval: Interval | None  # 95 %, over models; None where an attack has a single one
    draws: roc.Floats


def front(marks: Sequence[Mark]) -> list[Mark]:
    """The attacks that no other beats in both η and ρ, by rising ρ (so by rising η too)."""
    kept = pareto.nondominated([(m.rho, m.eta) for m in marks])
    return sorted(
        (m for m, stays in zip(marks, kept, strict=True) if stays), key=lambda m: (m.rho, m.eta)
    )


def band(
    marks: Sequence[Mark], shares: Sequence[float] = (0.025, 0.5, 0.975)
) -> dict[float, pareto.Floats]:
    """Attainment surfaces (k, 2) of (ρ, η): what the front reaches in each share of resamples."""
    drawn = np.stack([np.column_stack([m.rhos, m.etas])[:BANDED] for m in marks], axis=1)
    return pareto.bands(list(drawn), shares)


def volume(marks: Sequence[Mark]) -> Volume:
    """The area that the attacker's front dominates, with the resamples' 95 % interval."""
    value = pareto.hypervolume([(max(CHANCE, m.rho), m.eta) for m in marks], WORST)
    draws = _volumes(
        np.stack([m.rhos for m in marks], axis=1), np.stack([m.etas for m in marks], axis=1)
    )
    return Volume(value, None if any(m.alone for m in marks) else roc.quantiles(draws), draws)


def _volumes(rhos: roc.Floats, etas: roc.Floats) -> roc.Floats:
    """The hypervolume of each row of attacks (draws, k): by rising ρ, the highest η so far holds
    until the next ρ.
    """
    order = np.argsort(rhos, axis=1)
    across = np.maximum(CHANCE, np.take_along_axis(rhos, order, axis=1))
    highest = np.maximum.accumulate(np.take_along_axis(etas, order, axis=1), axis=1)
    widths = np.diff(across, axis=1, append=WORST[0])
    return np.asarray((widths * highest).sum(axis=1), dtype=np.float64)
