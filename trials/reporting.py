"""How far the loops inside a trial are, for a person who waits; no record holds it.

A game can yield only between the calls that it makes, and a detector or a defense that is judged at
its end runs for hours within one call. Such a loop calls ``reporter.report`` at each step. Most
calls only compare the time; every few seconds one tells the listener that the executor has set, in
the same thread. A loss is fetched from the GPU only then, and nothing is drawn or computed that the
trial needs.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Optional, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

REPORT_SECONDS = 2.0  # between two reports of a trial
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TrialProgress:
    """How far the loop is that a trial is in.

    Attributes:
        step: steps done.
        steps: steps of this loop in all.
        loss: of the last step, or the mean of the present epoch; None for a loop without one.
        part: which part of the trial the loop is, such as ``copy 2 of 3``; empty for the only one.
        done: share of the whole trial's work that is done, in [0, 1]; None where nobody can tell.
    """

    step: int
    steps: int
    loss: float | None
    part: str = ""
    done: float | None = None


Listener = Callable[[TrialProgress], None]


class Phase:
    """A part of a trial's work; ``with phase:`` is for what is run there from its beginning to its
    end.
    """

    def __init__(self, parent: Optional["Phase"] = None, label: str = "") -> None:
        self.parent, self.label = parent, label
        self.children: Sequence[Phase] = ()
        self.counts = True
        self.stop_at: int = parent.stop_at if parent else 0
        self.enter()

    def enter(self, label: str = "", first: float = 0.0, last: float = 1.0) -> None:
        """A loop begins that takes the work of this phase from share ``first`` to ``last``."""
        self.part, self.first, self.last, self.share = label, first, last, 0.0

    @property
    def done(self) -> float:
        """Share of this phase's work that is done."""
        share = fmean(child.done for child in self.children) if self.children else self.share
        return self.first + (self.last - self.first) * share

    def __enter__(self) -> None:
        reporter.here = self

    def __exit__(self, *_: object) -> None:
        self.children = ()
        self.enter(first=1.0)
        assert self.parent is not None
        reporter.here = self.parent

    def along(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, each of which is made in this phase."""
        while True:
            before, reporter.here = reporter.here, self
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                reporter.here = before
            yield item


class Reporter:
    """Tells the listener of this process how far its trial is.

    Attributes:
        here: the phase of the loop that runs now.
    """

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._due = 0.0
        self.here = Phase()

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """The listener hears of this process's trial. One that raises is told no more: the trial
        goes on.
        """
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def pass_on(self, report: TrialProgress) -> None:
        """Tell the listener what a game has reported itself."""
        if self._listener is None:
            return
        try:
            self._listener(report)
        except Exception:  # a listener that fails must not end the trial
            self._listener = None

    def begin(self) -> None:
        """A trial begins."""
        self.here, self._due = Phase(), 0.0

    def part(self, label: str, first: float, last: float) -> None:
        """The loop that follows takes the work from share ``first`` to ``last``, and has this
        name.
        """
        self.here.enter(label, first, last)

    def split(self, *labels: str) -> list[Phase]:
        """Phases of equal work for what follows, such as one for each copy."""
        self.here.children = phases = [Phase(self.here, label) for label in labels]
        return phases

    @contextmanager
    def untimed(self, label: str) -> Iterator[None]:
        """A loop of which nobody can tell how much of the trial's work it is."""
        before, self.here = self.here, Phase(self.here, label)
        self.here.counts = False
        try:
            yield
        finally:
            self.here = before

    def until(self, stop_at: int) -> None:
        """The repair that follows is stopped at this step of its curve; 0 for its end."""
        self.here.stop_at = stop_at

    def upto(self, steps: int, every: int = 1) -> int:
        """Steps that a loop of ``steps`` takes which may be stopped after each ``every``."""
        stop_at = self.here.stop_at
        return min(steps, -(-stop_at // every) * every) if stop_at else steps

    def report(
        self, step: int, steps: int, loss: "Tensor | float | None" = None, over: int = 1
    ) -> None:
        """A loop has done ``step`` of ``steps`` steps.

        Args:
            step: steps done.
            steps: in all.
            loss: of the step; looked at only where it is told.
            over: number of problems, such as classes, whose losses ``loss`` sums.
        """
        if self._listener is None:
            return
        self.here.share = min(1.0, step / steps)
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REPORT_SECONDS
        value = loss if loss is None or isinstance(loss, float) else float(loss.item())
        try:
            self._listener(self.progress(step, steps, None if value is None else value / over))
        except Exception:  # a listener that fails must not end the trial
            self._listener = None

    def progress(self, step: int, steps: int, loss: float | None) -> TrialProgress:
        """What is told of the loop that runs now."""
        self.here.share = min(1.0, step / steps)
        line, phase = [], self.here
        counts = True
        while True:
            line.append(", ".join(filter(None, (phase.label, phase.part))))
            counts = counts and phase.counts
            if phase.parent is None:
                break
            phase = phase.parent
        part = ", ".join(filter(None, reversed(line)))
        return TrialProgress(step, steps, loss, part, phase.done if counts else None)


reporter = Reporter()
