"""Walks through a search space. A walk hands out trials and is told their records; it knows neither store nor executor.

Here is the walk of a list that is known beforehand; ``sweep.search`` learns from what came back.
"""

from collections.abc import Sequence
from typing import Protocol

from trials.spec import Record, Trial


class Walk(Protocol):
    """What an executor's source draws from."""

    label: str
    size: int  # trials in all
    known: int  # of these, stored ones that a walk took up by itself and never hands out

    def ask(self) -> Trial | None:
        """The next trial, or None while there is none (wait for records, or done)."""

    def tell(self, record: Record) -> None:
        """What a trial of this walk gave."""

    @property
    def done(self) -> bool:
        """True when every trial has been asked for and told."""


class ListWalk:
    """Trials that are known beforehand: victims, copies, a grid, a star."""

    def __init__(self, label: str, trials: Sequence[Trial]) -> None:
        self.label, self.size, self.known = label, len(trials), 0
        self._next, self._open = list(reversed(trials)), len(trials)

    def ask(self) -> Trial | None:
        return self._next.pop() if self._next else None

    def tell(self, record: Record) -> None:
        self._open -= 1

    @property
    def done(self) -> bool:
        return self._open == 0
