"""ROC analysis of detection scores: AUC, rates, intervals, and the difference of two detectors on
the same models.

Source: Mann and Whitney 1947 (AUC), Hanley and McNeil 1982 (standard error), DeLong, DeLong and
Clarke-Pearson 1988 (variance and paired test), Newcombe 2006 (score interval, method 5), Efron 1979
(bootstrap).

Scores are float arrays, one number a model; a higher score is more suspicious. The unit that is
resampled is a model. Where the resamples of perfectly separated scores do not vary, they would
claim certainty; Newcombe's interval does not.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.stats.intervals import Interval

Floats = NDArray[np.float64]
DRAWS = 2000


class Difference(NamedTuple):
    """First minus second; interval and p are None where the models leave no variance."""

    value: float
    interval: Interval | None
    p: float | None  # two-sided, of no difference


def wins(poisoned: ArrayLike, clean: ArrayLike) -> Floats:
    """(n poisoned, n clean): 1 where the poisoned model's score is higher, 0.5 where they tie, else
    0.

    Raises:
        ValueError: a side is empty, not one-dimensional, or not finite.
    """
    above = np.sign(_scores(poisoned)[:, None] - _scores(clean)[None, :])
    return np.asarray((above + 1) / 2, dtype=np.float64)


def auc(poisoned: ArrayLike, clean: ArrayLike) -> float:
    """Chance that a poisoned model scores higher than a clean one, ties counted half.

    >>> auc([3, 2], [2, 1])
    0.875
    """
    return float(wins(poisoned, clean).mean())


def curve(poisoned: ArrayLike, clean: ArrayLike) -> Floats:
    """(k, 2) of (false-, true-positive rate) from (0, 0) to (1, 1); ties are slopes, so its area is
    the AUC.
    """
    p, c = _scores(poisoned), _scores(clean)
    cuts = np.unique(np.concatenate([p, c]))[::-1, None]
    rates = np.column_stack([(c >= cuts).mean(axis=1), (p >= cuts).mean(axis=1)])
    return np.vstack([np.zeros((1, 2)), rates])


def tpr_at(poisoned: ArrayLike, clean: ArrayLike, fpr: float = 0.05) -> float:
    """Share of poisoned models flagged by the lowest threshold that flags at most ``fpr`` of the
    clean ones.

    With n clean models this is ``floor(fpr * n)`` of them: with fewer than 20 models, none at 5 %.
    """
    p, c = _scores(poisoned), _scores(clean)
    return float(tpr_draws(p, c, np.ones((1, len(p))), np.ones((1, len(c))), fpr)[0])


def hanley_mcneil(area: float, n_poisoned: int, n_clean: int) -> float:
    """Standard error of an AUC known only by its value and the number of models."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (n_poisoned - 1) * (q1 - area**2) + (n_clean - 1) * (q2 - area**2)
    return math.sqrt(max(0.0, spread) / (n_poisoned * n_clean))


def newcombe(area: float, n_poisoned: int, n_clean: int, level: float = 0.95) -> Interval:
    """Score interval of an AUC: it has a width at 0 and 1 too."""
    z, n = NormalDist().inv_cdf((1 + level) / 2), (n_poisoned + n_clean) / 2 - 1

    def outside(a: float) -> bool:
        variance = (
            a * (1 - a) * (1 + n * ((1 - a) / (2 - a) + a / (1 + a))) / (n_poisoned * n_clean)
        )
        return (area - a) ** 2 > z * z * variance

    return Interval(_edge(outside, 0.0, area), _edge(outside, 1.0, area))


def resamples(n: int, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, n): how often each of ``n`` models occurs in each resample."""
    drawn = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def auc_draws(won: Floats, poisoned: Floats, clean: Floats) -> Floats:
    """The AUC of each resample, (draws,), from ``wins`` and both sides' counts (draws, n)."""
    return np.asarray(
        ((poisoned @ won) * clean).sum(axis=1) / (won.shape[0] * won.shape[1]), dtype=np.float64
    )


def tpr_draws(p: Floats, c: Floats, poisoned: Floats, clean: Floats, fpr: float = 0.05) -> Floats:
    """As ``tpr_at``, for each resample."""
    if not 0 <= fpr < 1:
        raise ValueError(f"a false-positive rate lies in [0, 1), got {fpr}")
    order = np.argsort(-c)
    over = clean[:, order].cumsum(axis=1) > math.floor(fpr * len(c) + 1e-9)
    cuts = c[order][over.argmax(axis=1)]
    return np.asarray((poisoned * (p > cuts[:, None])).sum(axis=1) / len(p), dtype=np.float64)


def quantiles(values: Floats, level: float = 0.95) -> Interval:
    """The middle ``level`` of the resamples."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def interval(
    poisoned: ArrayLike, clean: ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Percentile interval of the AUC over models, poisoned and clean ones resampled apart."""
    won, rng = wins(poisoned, clean), np.random.default_rng(seed)
    n_p, n_c = won.shape
    return settled(
        auc_draws(won, resamples(n_p, draws, rng), resamples(n_c, draws, rng)), won, level
    )


def settled(drawn: Floats, won: Floats, level: float = 0.95) -> Interval:
    """The interval of resampled AUCs, or Newcombe's where they do not vary."""
    if np.ptp(drawn) < 1e-12:
        return newcombe(float(won.mean()), won.shape[0], won.shape[1], level)
    return quantiles(drawn, level)


def _edge(outside: Callable[[float], bool], far: float, near: float) -> float:
    """Where a value stops being compatible, between the far end and the estimate, by bisection."""
    if not outside(far):
        return far
    for _ in range(60):
        middle = (far + near) / 2
        far, near = (middle, near) if outside(middle) else (far, middle)
    return near


def _scores(given: ArrayLike) -> Floats:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"scores must be of shape (n,) with n > 0, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite"
        )
    return values
