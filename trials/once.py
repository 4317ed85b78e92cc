"""What many trials of one process measure alike, measured once."""

from collections.abc import Callable
from functools import partial

from trials.dependencies import copy_of
from trials.spec import Point, Trial

Words = tuple[str | int, ...]
Once = Callable[[Words, Callable[[], Point]], Point]


class Measured:
    """The points that were measured, by the copies of the trial and the words of who asked."""

    def __init__(self) -> None:
        self._points: dict[tuple[str | int, ...], Point] = {}

    def of(self, trial: Trial) -> Once:
        """Gives the point of those words, by the function where no trial with the same copies has
        measured it.
        """
        return partial(self._point, trial)

    def _point(self, trial: Trial, words: Words, measure: Callable[[], Point]) -> Point:
        key = (copy_of(trial, 0).id, *words)
        if key not in self._points:
            self._points[key] = measure()
        return self._points[key]
