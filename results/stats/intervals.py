"""How sure a number is: intervals for rates, spread over seeds and copies.

Everything is a fraction in [0, 1].
"""

import math
from collections.abc import Sequence
from itertools import chain
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple


class Interval(NamedTuple):
    """Both ends, fractions."""

    low: float
    high: float


def wilson(rate: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a rate measured on ``n`` independent images.

    Source: Wilson 1927, JASA 22. Unlike the normal interval it stays inside [0, 1] and has a width
    at 0 and 1.

    Args:
        rate: share of hits, in [0, 1]; it may be a mean over copies, so ``rate * n`` need not be
            whole.
        n: distinct images behind it. Images seen by several copies count once, which errs on the
            wide side.
        level: confidence, in (0, 1).

    Raises:
        ValueError: ``rate`` is not a fraction, ``n`` is not positive, or ``level`` is not in (0,
            1).
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate lies in [0, 1], got {rate}")
    if not (n > 0 and math.isfinite(n)):
        raise ValueError(f"a rate needs n > 0 images, got {n}")
    z2 = NormalDist().inv_cdf((1 + _level(level)) / 2) ** 2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)))


def paired(changes: Sequence[float], level: float = 0.95) -> Interval:
    """Interval of the mean of what happens to each image, such as what a repair costs: 1 for one
    that was right and is wrong, -1 the other way round, 0, or between for one seen in several ways.

    Source: Agresti and Min 2005, Statist. Med. 24: half an image more in each of the four cells of
    the paired table. Images that are right, or wrong, both times make it narrower than two
    intervals of accuracies would suggest.

    Args:
        changes: one for each distinct image, in [-1, 1].
        level: confidence, in (0, 1).

    Raises:
        ValueError: no changes, one outside [-1, 1], or ``level`` is not in (0, 1).
    """
    _finite(changes)
    if not all(-1 <= change <= 1 for change in changes):
        raise ValueError("a change of one image lies in [-1, 1]")
    z, n = NormalDist().inv_cdf((1 + _level(level)) / 2), len(changes) + 2
    mean = math.fsum(changes) / n
    variance = (math.fsum(change**2 for change in changes) + 1) / n - mean**2
    half, seen = z * math.sqrt(variance / n), fmean(changes)
    return Interval(max(-1.0, min(seen, mean - half)), min(1.0, max(seen, mean + half)))


def clustered(
    clusters: Sequence[Sequence[float]],
    models: Sequence[Sequence[int]] = (),
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Wilson's interval of a rate whose measurements come in clusters, such as several victims of
    one poison.

    Clusters are resampled (cluster bootstrap), which gives the variance of the rate; Wilson's
    interval is that of as many independent measurements as have this variance. These are at least
    the clusters and at most the measurements: a rate of 0 or 1 counts each cluster once. Where one
    model is measured in several clusters, what its measurements have in common is added: the
    variance over models beyond that of single measurements (Cameron, Gelbach, Miller 2011, J. Bus.
    Econ. Stat. 29, two-way clustering).

    Args:
        clusters: hits in [0, 1], by cluster.
        models: the model of each hit, in the same form; left out, each has a model of its own.
        draws: resamples.
        seed: of the resampling.
        level: confidence, in (0, 1).

    Raises:
        ValueError: no clusters, an empty one, or a value outside [0, 1].
    """
    import numpy as np  # noqa: PLC0415  (which every command would load)

    hits = np.array([math.fsum(cluster) for cluster in clusters], dtype=float)
    sizes = np.array([len(cluster) for cluster in clusters], dtype=float)
    if not len(sizes) or not sizes.all():
        raise ValueError("a clustered rate needs at least one cluster, and none of them empty")
    number, rate = len(sizes), float(hits.sum() / sizes.sum())
    picks = np.random.default_rng(seed).integers(number, size=(draws, number))
    resampled = hits[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    # the bootstrap's variance of a mean is too small by (number - 1) / number
    variance, fewest = float(resampled.var()) * number / max(1, number - 1), float(number)
    flat = list(chain.from_iterable(models))
    if (shared := _in_common([v - rate for v in chain.from_iterable(clusters)], flat)) > 0:
        variance, fewest = variance + shared, float(min(number, len(set(flat))))
    alone = rate * (1 - rate) / variance if variance > 0 else 0.0
    return wilson(rate, min(float(sizes.sum()), max(fewest, alone)), level)


def _in_common(errors: Sequence[float], models: Sequence[int]) -> float:
    """Variance of the mean of the errors that is due to the models; nothing of a single model."""
    number, n = len(set(models)), len(errors)
    if number < 2:
        return 0.0
    sums = dict.fromkeys(models, 0.0)
    for error, model in zip(errors, models, strict=True):
        sums[model] += error
    of_models = math.fsum(total**2 for total in sums.values()) * number / (number - 1)
    of_each = math.fsum(error**2 for error in errors) * n / (n - 1)
    return max(0.0, of_models - of_each) / n**2


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; the latter is None for a single value, which has no
    spread.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    _finite(values)
    return fmean(values), stdev(values) if len(values) > 1 else None


def bootstrap(
    values: Sequence[float], level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Interval:
    """Percentile interval of the mean over seeds: resample the seeds, take the mean, ``draws``
    times.

    Source: Efron 1979. With fewer than about five seeds it is too narrow; say n beside it.

    Raises:
        ValueError: no values, one that is not finite, or ``level`` is not in (0, 1).
    """
    import numpy as np  # noqa: PLC0415

    _finite(values)
    tail = (1 - _level(level)) / 2
    data = np.asarray(values, dtype=float)
    picks = np.random.default_rng(seed).integers(len(data), size=(draws, len(data)))
    low, high = np.quantile(data[picks].mean(axis=1), [tail, 1 - tail])
    return Interval(float(low), float(high))


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"a level lies in (0, 1), got {level}")
    return level


def _finite(values: Sequence[float]) -> None:
    if not len(values):
        raise ValueError("no values")
    odd = [v for v in values if not math.isfinite(v)]
    if odd:
        raise ValueError(f"not finite: {odd}")
