"""Two detectors on the same models: DeLong's and the bootstrap's word on which has the higher AUC.

Source: DeLong, DeLong and Clarke-Pearson 1988 (covariance of AUCs on the same cases), Efron 1979
(bootstrap).

Scores are (k, n): a row a detector, a column a model, the same model in every row.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from results.stats.intervals import Interval
from results.stats.roc import DRAWS, Difference, Floats, auc_draws, quantiles, resamples, wins


class Paired(NamedTuple):
    """The difference of two detectors' AUCs, tested in two ways."""

    delong: Difference
    bootstrap: Difference
    n_poisoned: int
    n_clean: int


def compared(poisoned: ArrayLike, clean: ArrayLike, draws: int = DRAWS, seed: int = 0) -> Paired:
    """The first of two detectors' AUC minus the second's, by DeLong's test and by bootstrap."""
    tested, drawn = (
        delong_difference(poisoned, clean),
        bootstrap_difference(poisoned, clean, draws=draws, seed=seed),
    )
    return Paired(tested, drawn, np.shape(poisoned)[1], np.shape(clean)[1])


def delong(poisoned: ArrayLike, clean: ArrayLike) -> tuple[Floats, Floats]:
    """AUCs (k,) and their covariance (k, k), without resampling.

    Raises:
        ValueError: fewer than two models a side, or scores that are not finite or not of one number
            of detectors.
    """
    won = _wins(poisoned, clean)
    if min(won.shape[1:]) < 2:
        raise ValueError(
            f"a variance needs two models a side, got {won.shape[1]} poisoned and {won.shape[2]} "
            "clean"
        )
    of_poisoned, of_clean = won.mean(axis=2), won.mean(axis=1)
    spread = (
        np.atleast_2d(np.cov(of_poisoned)) / won.shape[1]
        + np.atleast_2d(np.cov(of_clean)) / won.shape[2]
    )
    return won.mean(axis=(1, 2)), spread


def delong_difference(poisoned: ArrayLike, clean: ArrayLike, level: float = 0.95) -> Difference:
    """The first detector's AUC minus the second's, with a normal interval and a two-sided p."""
    (first, second), spread = delong(poisoned, clean)
    value = float(first - second)
    variance = float(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])
    if variance < 1e-15:
        return Difference(value, None, None)
    normal, sd = NormalDist(), float(np.sqrt(variance))
    half = normal.inv_cdf((1 + level) / 2) * sd
    return Difference(value, Interval(value - half, value + half), 2 * normal.cdf(-abs(value) / sd))


def bootstrap_difference(
    poisoned: ArrayLike, clean: ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """As ``delong_difference``, by resampling models; both detectors see the same resamples."""
    won, rng = _wins(poisoned, clean), np.random.default_rng(seed)
    w_p, w_c = resamples(won.shape[1], draws, rng), resamples(won.shape[2], draws, rng)
    return judged(float((won[0] - won[1]).mean()), auc_draws(won[0] - won[1], w_p, w_c), level)


def judged(value: float, drawn: Floats, level: float = 0.95) -> Difference:
    """A difference with the interval and p of its resamples; p counts one resample more on either
    side of zero.
    """
    if np.ptp(drawn) < 1e-12:
        return Difference(value, None, None)
    below, above = (float((s * drawn <= 1e-12).sum() + 1) / (len(drawn) + 1) for s in (1, -1))
    return Difference(value, quantiles(drawn, level), min(1.0, 2 * min(below, above)))


def _wins(poisoned: ArrayLike, clean: ArrayLike) -> Floats:
    p, c = np.atleast_2d(np.asarray(poisoned, float)), np.atleast_2d(np.asarray(clean, float))
    if len(p) != len(c):
        raise ValueError(f"both sides need the same detectors, got {len(p)} and {len(c)}")
    return np.stack([wins(a, b) for a, b in zip(p, c, strict=True)])
