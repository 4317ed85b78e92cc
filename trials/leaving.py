"""A stop that waits for a checkpoint: the trial of this process leaves off when it has written its
next one.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Leaving:
    """What is asked of the trial that runs in this process.

    Attributes:
        keeps: whether it writes checkpoints.
        write: writes how far it had come when it last could, if that is not written; only good
            between two steps.
    """

    keeps: bool = False
    write: Callable[[], None] | None = None
    _problem: BaseException | None = None

    def ask(self, problem: BaseException) -> bool:
        """Have it raise this after its next checkpoint, or its end; False where it writes none:
        raise it at once.
        """
        if self.keeps:
            self._problem = problem
        return self.keeps

    @property
    def asked(self) -> bool:
        return self._problem is not None

    def go(self) -> None:
        """Raise what was asked for, if anything was."""
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem

    def drop(self) -> bool:
        """Ask no more; whether anything was asked for."""
        asked, self._problem = self.asked, None
        return asked

    def over(self) -> None:
        """The trial has ended."""
        self.keeps, self.write = False, None


leaving = Leaving()
