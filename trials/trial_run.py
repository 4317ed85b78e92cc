"""A trial or a game as it runs: iterate what it reports, then read what it ended with.

Games are generators and do not call a function for each point. Ray Tune and the process pool ask
for the next point when they are ready for it, and stop a trial between two points. A game that
pushed its points would have to run in a thread of its own to be stopped there.

A point at step 0 begins the curve anew: the record keeps those from the last one on.
"""

from collections.abc import Generator, Iterator
from typing import Generic, Self, TypeVar

from trials.reporting import TrialProgress
from trials.spec import Point, Record

Result = TypeVar("Result")


Report = Point | TrialProgress
Reports = Generator[Report, None, Result]


class Steps(Generic[Result]):
    """The reports of a generator as they come, then the value that it returns."""

    def __init__(self, generator: Reports[Result]) -> None:
        self._generator, self._ended, self._stopped = generator, list[Result](), False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Report:
        try:
            return next(self._generator)
        except StopIteration as end:
            if not self._stopped:
                self._ended.append(end.value)
            self._stopped = True
            raise
        except BaseException:
            self._stopped = True
            raise

    @property
    def result(self) -> Result:
        """What the generator returned. Raises RuntimeError before its end."""
        if not self._ended:
            raise RuntimeError("it has not come to its end, so it has no result yet")
        return self._ended[0]

    def close(self) -> None:
        """Stop it where it is; it has no result then."""
        self._stopped = True
        self._generator.close()


class TrialRun:
    """A trial that runs: iterate its points, then read ``record``."""

    def __init__(self, generator: Reports[Record]) -> None:
        self._steps = Steps(generator)

    def __iter__(self) -> Iterator[Point]:
        return self

    def __next__(self) -> Point:
        return next(report for report in self._steps if isinstance(report, Point))

    def reports(self) -> Iterator[Report]:
        """Its points and its progress, as they come."""
        return self._steps

    @property
    def record(self) -> Record:
        """The trial's record. Raises RuntimeError before its end."""
        return self._steps.result

    def close(self) -> None:
        """Stop the trial between two points; it has no record then."""
        self._steps.close()
