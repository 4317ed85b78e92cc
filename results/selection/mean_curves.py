"""Curves of several seeds as one mean curve."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from math import fsum
from operator import add, itemgetter

from results.selection.reconstructed import RECONSTRUCTED
from results.selection.rules import OF_ATTACK
from trials.curve import Curve, curve_from
from trials.spec import Point


def mean_curve(curves: Sequence[Sequence[Point]]) -> Sequence[Point]:
    """Mean over seeds at the steps that every seed recorded, so that no step's mean leaves a seed
    out.
    """
    columns = _as_columns(curves)
    if columns:
        return _mean_of_columns(columns)
    by_step = [_by_step(c) for c in curves]
    common = sorted(set.intersection(*map(set, by_step)))
    rows = (list(map(itemgetter(step), by_step)) for step in common)
    return tuple(map(_mean_point, rows))


def _as_columns(curves: Sequence[Sequence[Point]]) -> list[Curve]:
    """The curves, where they are columns with the same steps and names; else none."""
    found = [c for c in curves if isinstance(c, Curve)]
    alike = len(found) == len(curves) and len({c.names for c in found}) == 1
    alike = alike and found[0].names is not None
    return found if alike and all(c.steps == found[0].steps for c in found) else []


def _mean_of_columns(curves: Sequence[Curve]) -> Curve:
    """Of curves with the same steps and names."""
    names = curves[0].names or ()
    seen = ("val_cda",) if "val_cda" in names else ()
    besides = {}
    for name in (*seen, *_averaged(names)):
        besides[name] = _means([c.besides(name) for c in curves])
    return curve_from(
        curves[0].steps,
        _means([c.cdas for c in curves]),
        _means([c.asrs for c in curves]),
        _means([c.seconds for c in curves]),
        besides,
    )


def _means(columns: Sequence[Sequence[float]]) -> Sequence[float]:
    """Of columns of the same length, entry by entry."""
    if len(columns) == 1:
        return columns[0]
    if len(columns) == 2:  # whose sum is rounded once, as that of fsum is
        return [total / 2 for total in map(add, *columns)]
    number = len(columns)
    return [total / number for total in map(fsum, zip(*columns, strict=True))]


def _by_step(curve: Sequence[Point]) -> dict[int, Point]:
    return {p.step: p for p in curve}


def _mean_point(row: Sequence[Point]) -> Point:
    """Of points at one step; a kind of trigger that some seeds' copies lack is the mean of the
    others.
    """
    step, number = row[0].step, len(row)

    def mean(values: Iterable[float]) -> float:
        return fsum(values) / number  # what fmean does, without its look at what it was given

    extra = {}
    if all("val_cda" in p.extra for p in row):
        extra["val_cda"] = mean([p.extra["val_cda"] for p in row])
    for name in _averaged(tuple(dict.fromkeys(chain.from_iterable(p.extra for p in row)))):
        there = [p.extra[name] for p in row if name in p.extra]
        if len(there) == number or name.startswith(OF_ATTACK):
            extra[name] = fsum(there) / len(there)
    seconds = mean([p.seconds for p in row])
    return Point(step, mean([p.cda for p in row]), mean([p.asr for p in row]), seconds, extra)


@lru_cache
def _averaged(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a point's measurements that a configuration's curve has too."""
    return tuple(k for k in names if k.startswith(OF_ATTACK) or k == RECONSTRUCTED)
