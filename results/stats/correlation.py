"""Rank correlations with intervals: does a number grow with the budget, and do two orders of
settings agree?

Source: Spearman 1904; Kendall 1938 (tau-b); Lukas and Kerschbaum 2023, arXiv:2305.09671, sections
V-C and V-D1.
Deviation: the paper shows curves and draws conclusions by eye; here each claim is a coefficient
with a bootstrap interval and a permutation test. Resamples in which one side is constant have no
coefficient and are passed over.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.stats.intervals import Interval
from results.stats.roc import DRAWS, Floats, quantiles, resamples

Kind = Literal["spearman", "kendall"]


class Correlation(NamedTuple):
    """In [-1, 1]; everything is None where one side is constant or has fewer than three units."""

    kind: Kind
    value: float | None
    interval: Interval | None  # 95 %, over units
    p: float | None  # of no positive association, by permutation: small speaks for a rise
    n: int


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    kind: Kind = "spearman",
    strata: Sequence[object] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Correlation:
    """Rank correlation of two numbers a unit, ties at their mid-rank.

    Args:
        kind: Spearman's or Kendall's (tau-b).
        x, y, strata, draws, seed: as for ``correlations``.

    Raises:
        ValueError: as ``correlations``.
    """
    (found,) = correlations(x, y, (kind,), strata, draws, seed)
    return found


def correlations(
    x: ArrayLike,
    y: ArrayLike,
    kinds: Sequence[Kind] = ("spearman", "kendall"),
    strata: Sequence[object] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Correlation, ...]:
    """One of each kind, all from the same resamples and permutations.

    Args:
        x, y: float (n,).
        kinds: Spearman's and Kendall's (tau-b).
        strata: a label a unit; units are resampled within their stratum, as where x was set by the
            experiment.
        draws: resamples, and as many permutations.
        seed: of both.

    Raises:
        ValueError: different lengths, or a value that is not finite.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"both sides must be of one shape (n,), got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("values are not finite")
    n, rng = len(a), np.random.default_rng(seed)
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return tuple(Correlation(kind, None, None, None, n) for kind in kinds)
    counts = _counts(strata, n, draws, rng)
    orders = rng.permuted(np.tile(np.arange(n), (draws, 1)), axis=1)
    found = []
    for kind in kinds:
        whole = float(coefficients(kind, a, b, np.ones((1, n)))[0])
        drawn = coefficients(kind, a, b, counts)
        interval = around(whole, drawn[np.isfinite(drawn)])
        found.append(Correlation(kind, whole, interval, _chance(kind, a, b, whole, orders), n))
    return tuple(found)


def around(value: float, drawn: Floats) -> Interval | None:
    """The resamples' 95 % interval, with the value in it: repeated units shift ties, and with them
    the coefficient.

    None where the resamples do not vary, as with few units in perfect order: that is no certainty.
    """
    if not len(drawn) or np.ptp(drawn) < 1e-9:
        return None
    low, high = quantiles(drawn)
    return Interval(min(low, value), max(high, value))


def coefficients(kind: Kind, a: Floats, b: Floats, counts: Floats) -> Floats:
    """The coefficient of each resample, (draws,), NaN where it has none; counts (draws, n) are
    occurrences of units.
    """
    x, y = (np.sign(v[:, None] - v[None, :]) for v in (a, b))
    if kind == "kendall":
        top, left, right = (
            ((counts @ pairs) * counts).sum(axis=1) for pairs in (x * y, x * x, y * y)
        )
    else:
        # a unit's mid-rank, but for a constant, is half of the units below it less those above it
        ranks = [counts @ s.T for s in (x, y)]  # their mean is zero
        top, left, right = (
            (counts * r * s).sum(axis=1) for r, s in (ranks, ranks[:1] * 2, ranks[1:] * 2)
        )
    below = np.sqrt(left * right)
    return np.asarray(np.divide(top, below, out=np.full_like(top, np.nan), where=below > 1e-9))


def _counts(
    strata: Sequence[object] | None, n: int, draws: int, rng: np.random.Generator
) -> Floats:
    labels = (
        np.zeros(n, dtype=int)
        if strata is None
        else np.unique([str(s) for s in strata], return_inverse=True)[1]
    )
    counts = np.zeros((draws, n))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        counts[:, own] = resamples(len(own), draws, rng)
    return counts


def _chance(kind: Kind, a: Floats, b: Floats, whole: float, orders: NDArray[np.intp]) -> float:
    """Share of permutations (draws, n), the given order among them, with a coefficient as high."""
    x, y = (np.sign(v[:, None] - v[None, :]) for v in (a, b))
    if kind == "spearman":
        left, right = x.sum(axis=1), y.sum(axis=1)
        drawn = right[orders] @ left / np.sqrt((left**2).sum() * (right**2).sum())
    else:
        scale = np.sqrt((x**2).sum() * (y**2).sum())
        drawn = _agreement(x, np.unique(b, return_inverse=True)[1][orders]) / scale
    return float(((drawn >= whole - 1e-12).sum() + 1) / (len(orders) + 1))


def _agreement(signs: Floats, ranks: NDArray[np.intp]) -> Floats:
    """Pairs of units that stand in one order on both sides less those that do not, each counted
    twice; (draws,).

    Args:
        signs: of the first side's differences, (n, n).
        ranks: of the second side's values, a draw a row, (draws, n).
    """
    columns = ranks.T.astype(np.float32)  # a sum of signs is whole, and exact up to 2**24
    found = np.zeros(len(ranks))
    for i, own in enumerate(columns[:-1]):
        found += signs[i + 1 :, i].astype(np.float32) @ np.clip(columns[i + 1 :] - own, -1, 1)
    return 2 * found
