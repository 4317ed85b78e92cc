"""Curves as columns: what many records measured lies close together, and a point is made when it is
looked at.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain, islice
from typing import Any, TypeVar, overload

from trials.spec import Point

T = TypeVar("T")
Places = Mapping[str, int]  # of a point's names among its values


class Measured(Mapping[str, float]):
    """Named numbers, as a dict of them, in a quarter of the memory.

    Args:
        places: of the names, which many share.
        values: of many.
        start: of one's own in ``values``.
    """

    __slots__ = ("_places", "_start", "_values")

    def __init__(self, places: Places, values: Sequence[float], start: int) -> None:
        self._places, self._values, self._start = places, values, start

    def __reduce__(self) -> tuple[type, tuple[dict[str, float]]]:
        return dict, (dict(self),)

    def __getitem__(self, name: str) -> float:
        return self._values[self._start + self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        place = self._places.get(name)
        return default if place is None else self._values[self._start + place]

    def __repr__(self) -> str:
        return f"Measured({dict(self)})"


class Columns:
    """Points of many curves, one after the other."""

    steps: Any  # of integers; slices of each have its own type
    cdas: Any
    asrs: Any
    seconds: Any
    places: Any
    starts: Any
    values: Any

    __slots__ = ("asrs", "cdas", "places", "seconds", "starts", "steps", "values")

    def __init__(
        self,
        measured: Sequence[Any],
        places: Sequence[Places],
        starts: Sequence[int],
        values: Sequence[float],
    ) -> None:
        self.steps, self.cdas, self.asrs, self.seconds = measured
        # what a point measured besides lies in ``values`` from its start on, by the names' places
        self.places, self.starts, self.values = places, starts, values

    def point(self, i: int) -> Point:
        places, start = self.places[i], self.starts[i]
        extra = Measured(places, self.values, start) if places else {}
        return Point(self.steps[i], self.cdas[i], self.asrs[i], self.seconds[i], extra)


class GrowingColumns(Columns):
    """Columns that points come to, kept as small as they can be."""

    __slots__ = ()

    def __init__(self) -> None:
        numbers = (array("q"), array("d"), array("d"), array("d"))
        super().__init__(numbers, [], array("q"), array("d"))

    def extended(
        self,
        steps: Sequence[int],
        cdas: Sequence[float],
        asrs: Sequence[float],
        seconds: Sequence[float],
        places: Sequence[Places],
        values: Sequence[float],
    ) -> "Curve":
        """Add points, and return them; all have as many entries as ``steps`` but ``values``, which
        has one a name.
        """
        begin = len(self.steps)
        self.steps.extend(steps)
        self.cdas.extend(cdas)
        self.asrs.extend(asrs)
        self.seconds.extend(seconds)
        self.places.extend(places)
        starts = accumulate(map(len, places), initial=len(self.values))
        self.starts.extend(islice(starts, len(steps)))
        self.values.extend(values)
        return Curve(self, begin, len(self.steps))


class Curve(Sequence[Point]):
    """Those points from ``begin`` to before ``end``, in the order of their steps, all finite; as a
    tuple of them.
    """

    __slots__ = ("_begin", "_columns", "_end")

    def __init__(self, columns: Columns, begin: int, end: int) -> None:
        self._columns, self._begin, self._end = columns, begin, end

    def __reduce__(self) -> tuple[type, tuple[list[Point]]]:
        return tuple, ([replace(p, extra=dict(p.extra)) for p in self],)

    def __len__(self) -> int:
        return self._end - self._begin

    @overload
    def __getitem__(self, index: int) -> Point: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Point, ...]: ...

    def __getitem__(self, index: int | slice) -> Point | tuple[Point, ...]:
        at = range(self._begin, self._end)[index]
        point = self._columns.point
        return tuple(map(point, at)) if isinstance(at, range) else point(at)

    def __iter__(self) -> Iterator[Point]:
        return map(self._columns.point, range(self._begin, self._end))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (tuple, Curve)) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def _own(self, column: Sequence[T]) -> Sequence[T]:
        return column[self._begin : self._end]

    @property
    def steps(self) -> Sequence[int]:
        return self._own(self._columns.steps)

    @property
    def cdas(self) -> Sequence[float]:
        return self._own(self._columns.cdas)

    @property
    def asrs(self) -> Sequence[float]:
        return self._own(self._columns.asrs)

    @property
    def seconds(self) -> Sequence[float]:
        return self._own(self._columns.seconds)

    @property
    def names(self) -> tuple[str, ...] | None:
        """What every point measured besides, in its order; None where points differ in it."""
        places = self._own(self._columns.places)
        return tuple(places[0]) if places.count(places[0]) == len(places) else None

    def besides(self, name: str) -> Sequence[float]:
        """The column of one of ``names``."""
        columns, size = self._columns, len(self._columns.places[self._begin])
        first = columns.starts[self._begin] + columns.places[self._begin][name]
        found: Sequence[float] = columns.values[first : first + size * len(self) : size]
        return found

    def with_asrs(self, asrs: Sequence[float]) -> "Curve":
        """The same curve with another ASR, as long as it is."""
        c, own = self._columns, slice(self._begin, self._end)
        measured = (self.steps, self.cdas, asrs, self.seconds)
        return Curve(Columns(measured, c.places[own], c.starts[own], c.values), 0, len(self))

    def part(self, begin: int, end: int) -> "Curve":
        """Its points from ``begin`` to before ``end``."""
        return Curve(self._columns, self._begin + begin, self._begin + end)

    def goes_on(self, other: "Curve") -> bool:
        """Whether the other's points are the next of the same columns."""
        return other._columns is self._columns and other._begin == self._end

    def until(self, other: "Curve") -> "Curve":
        """Up to the end of one that goes on with this one."""
        return Curve(self._columns, self._begin, other._end)


def part_of(points: Sequence[Point], begin: int, end: int) -> Sequence[Point]:
    """The points from ``begin`` to before ``end``, as columns where they are."""
    return points.part(begin, end) if isinstance(points, Curve) else points[begin:end]


def asrs_of(points: Sequence[Point]) -> Sequence[float]:
    """The ASR of each, without a point made where they are columns."""
    return points.asrs if isinstance(points, Curve) else [p.asr for p in points]


def cdas_of(points: Sequence[Point]) -> Sequence[float]:
    """The CDA of each, in the same way."""
    return points.cdas if isinstance(points, Curve) else [p.cda for p in points]


def joined(first: Sequence[Point], then: Sequence[Point]) -> Sequence[Point]:
    """Both, one after the other."""
    if isinstance(first, Curve) and isinstance(then, Curve) and first.goes_on(then):
        return first.until(then)
    return (*first, *then)


def curve_from(
    steps: Sequence[int],
    cdas: Sequence[float],
    asrs: Sequence[float],
    seconds: Sequence[float],
    besides: Mapping[str, Sequence[float]],
) -> Curve:
    """A curve of columns that are as long as ``steps``, in its order."""
    number, size = len(steps), len(besides)
    places = {name: i for i, name in enumerate(besides)}
    values = list(chain.from_iterable(zip(*besides.values(), strict=True)))
    starts = range(0, number * size, size) if size else [0] * number
    measured = (steps, cdas, asrs, seconds)
    return Curve(Columns(measured, [places] * number, starts, values), 0, number)
