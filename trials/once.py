"""What many trials of one process measure alike, measured once."""

from collections.abc import Callable

from trials.spec import Point

Words = tuple[str | int | float, ...]
Once = Callable[[Words, Callable[[], Point]], Point]


class MeasuredOnce:
    """The points that were measured before any defense."""

    def __init__(self) -> None:
        self._points: dict[Words, Point] = {}

    def of(self, whose: Callable[[], Words]) -> Once:
        """Gives the point of those words and of whose they are, by the function where no trial has
        measured it.
        """
        return lambda words, measure: self._point((*whose(), *words), measure)

    def _point(self, key: Words, measure: Callable[[], Point]) -> Point:
        if key not in self._points:
            self._points[key] = measure()
        return self._points[key]
