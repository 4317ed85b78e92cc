"""ASR x CDA fronts: what a defense can reach (less ASR, more CDA), how much of it, and how sure
that is.

Points are float arrays (n, 2) of (ASR, CDA), fractions; less ASR and more CDA is better. In two
dimensions a sort and a running maximum are enough, and faster than anything general
(``benchmarks/fronts.py``); marking rows, attainment surfaces and all of other dimensions are
moocore's (C). It takes a NaN for a better point than a number, so whatever is not finite is
refused.
"""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_WANTED = [False, True]  # maximise: ASR no, CDA yes


def nondominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats, (n,); of equal points the first is kept. O(n log n).

    >>> nondominated([[0.1, 0.9], [0.2, 0.8], [0.0, 0.5], [0.1, 0.9]]).tolist()
    [True, False, True, False]

    Raises:
        ValueError: not of shape (n, 2), or not finite.
    """
    given = _checked(points)
    kept = np.zeros(len(given), dtype=bool)
    if len(given):
        rest = _hopeful(given)
        kept[rest] = moocore.is_nondominated(given[rest], maximise=_WANTED)
    return kept


def front(points: ArrayLike) -> Floats:
    """The non-dominated points, (k, 2), each once, by rising ASR (so by rising CDA too).

    Raises:
        ValueError: not of shape (n, 2), or not finite.
    """
    given = _checked(points)
    if not len(given):
        return given.copy()
    asr, cda = given[_hopeful(given)].T
    order = np.argsort(asr)
    asr, cda = asr[order], cda[order]
    record = np.flatnonzero(np.concatenate([[True], cda[1:] > np.maximum.accumulate(cda)[:-1]]))
    # of equal ASR the last record is the highest
    last = np.concatenate([asr[record][1:] > asr[record][:-1], [True]])
    return np.column_stack([asr[record[last]], cda[record[last]]])


def hypervolume(points: ArrayLike, reference: tuple[float, float] = (1.0, 0.0)) -> float:
    """Area between the front and ``reference`` (the worst ASR and CDA that count): 1 is perfect, 0
    is nothing.

    >>> round(hypervolume([[0.1, 0.9], [0.5, 0.95]]), 3)
    0.835

    Raises:
        ValueError: points or reference not finite, or points not of shape (n, 2).
    """
    worst_asr, worst_cda = _checked([reference])[0]
    asr, cda = front(points).T
    inside = (asr < worst_asr) & (cda > worst_cda)
    widths = np.diff(np.append(asr[inside], worst_asr))
    return float((widths * (cda[inside] - worst_cda)).sum())


def minimal(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points (n, d) no other point beats where less of each coordinate is better, (n,); of
    equal points the first is kept.

    >>> minimal([[0.1, 0.9, 0.0], [0.2, 0.9, 0.1], [0.2, 0.8, 0.0]]).tolist()
    [True, False, True]

    Raises:
        ValueError: not of shape (n, d), or not finite.
    """
    given = _checked(points, None)
    return (
        np.asarray(moocore.is_nondominated(given), dtype=bool) if len(given) else np.ones(0, bool)
    )


def dominated_share(points: ArrayLike, reference: Sequence[float]) -> float:
    """How much of the box between 0 and ``reference`` lies behind points (n, d) of which less is
    better: 1 is perfect, 0 is nothing.

    A coordinate below 0 counts as 0; a point that reaches ``reference`` in any counts for nothing.

    >>> round(dominated_share([[0.5, 0.0, 0.0], [0.0, 0.05, 0.5]], (1.0, 0.1, 1.0)), 3)
    0.625

    Raises:
        ValueError: points or reference not finite, points not of as many coordinates.
    """
    worst = _checked([reference], len(reference))[0]
    given = np.maximum(_checked(points, len(reference)), 0.0)
    inside = given[(given < worst).all(axis=1)]
    if not len(inside):
        return 0.0
    return float(moocore.hypervolume(inside / worst, ref=np.ones(len(worst))))


def bands(
    runs: Sequence[ArrayLike], shares: Sequence[float] = (0.25, 0.5, 0.75)
) -> dict[float, Floats]:
    """Attainment surfaces over seeds: for each share, the front that this share of the runs reaches
    or beats.

    Source: Grunert da Fonseca, Fonseca, Hall 2001 (empirical attainment function), by moocore.

    Args:
        runs: one array (n, 2) a seed.
        shares: in (0, 1]; 0.5 is the median front.

    Returns:
        For each share a front (k, 2), by rising ASR.

    Raises:
        ValueError: no runs, an empty one, points that are not finite, or a share outside (0, 1].
    """
    fronts = [front(r) for r in runs]
    if not fronts or not all(len(f) for f in fronts):
        raise ValueError("bands need at least one point from each run")
    if not all(0 < s <= 1 for s in shares):
        raise ValueError(f"shares lie in (0, 1], got {list(shares)}")
    flipped = np.vstack(fronts) * [1.0, -1.0]  # eaf only minimises
    sets = np.repeat(np.arange(len(fronts)), [len(f) for f in fronts])
    found = moocore.eaf(flipped, sets, percentiles=[100.0 * s for s in shares])
    surfaces: dict[float, Floats] = {}
    for share in shares:
        rows = found[np.isclose(found[:, 2], 100.0 * share)][:, :2] * [1.0, -1.0]
        surfaces[share] = rows[np.argsort(rows[:, 0], kind="stable")]
    return surfaces


def _hopeful(given: Floats) -> NDArray[np.intp]:
    """Rows that the best compromise does not beat in both: all of the front, and often little else.

    O(n).
    """
    asr, cda = given[:, 0], given[:, 1]
    pivot = int(np.argmax(cda - asr))
    return np.flatnonzero((asr <= asr[pivot]) | (cda >= cda[pivot]))


def _checked(points: ArrayLike, d: int | None = 2) -> Floats:
    """As floats (n, d); of any d for None."""
    given = np.asarray(points, dtype=np.float64)
    if given.size == 0:
        return np.empty((0, d or 0))
    if given.ndim != 2 or given.shape[1] != (d or given.shape[1]):
        raise ValueError(f"points must be of shape (n, {d or 'd'}), got {given.shape}")
    if not np.isfinite(given).all():
        rows = np.flatnonzero(~np.isfinite(given).all(axis=1))
        raise ValueError(
            f"{len(rows)} of {len(given)} points are not finite, the first in row {rows[0]}"
        )
    return given
