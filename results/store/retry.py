"""Waiting for a database that went away or has no room: the same transaction again, after growing
pauses.
"""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from results.store.url import masked, reason
from trials.spec import SpecError

T = TypeVar("T")
FIRST, LONGEST = 0.1, 5.0  # seconds between two attempts
# PostgreSQL's codes: shut down, crashed, starting, disk full, too many connections, and a
# transaction that lost a race
_PASSING = {"57P01", "57P02", "57P03", "53100", "53300", "40001", "40P01"}
_LITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}
# a quota or limit that is used up: SQLite says "full" of a full disk alone
_UNWRITTEN = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_SHMSIZE}


def _silent(_: str) -> None:
    """Whoever opens a store by themselves need not listen."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Repeats a transaction whose database cannot be reached.

    Args:
        seconds: for so long; 0 tries once.
        say: told one line when the waiting begins.
    """

    seconds: float = 0.0
    say: Callable[[str], None] = _silent

    def __call__(self, work: Callable[[], T], url: URL) -> T:
        """What ``work`` returns; it must be safe to repeat.

        Raises SpecError when the time is over.
        """
        began, pause = time.monotonic(), FIRST
        while True:
            try:
                return work()
            except DBAPIError as problem:
                if not away(problem):
                    raise
                why, left = reason(problem, url), began + self.seconds - time.monotonic()
                if left <= 0:
                    after = f" for {self.seconds:g} s" if self.seconds else ""
                    raise SpecError(
                        f"store {masked(url)} could not be used{after}: {why}. Everything stored "
                        "is safe; when the "
                        "database is back, the same command goes on from there."
                    ) from None
                if pause == FIRST:
                    self.say(
                        f"store {masked(url)} cannot be used now ({why}); trying for up to "
                        f"{self.seconds:g} s"
                    )
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST)


def away(problem: DBAPIError) -> bool:
    """True where the database could not be reached, was busy or had no room: the statement was
    never the matter.
    """
    if problem.connection_invalidated:
        return True
    if isinstance(problem.orig, sqlite3.OperationalError):
        code = getattr(problem.orig, "sqlite_errorcode", 0)  # text that is not UTF-8 has none
        return code & 0xFF in _LITE or code in _UNWRITTEN
    state = getattr(problem.orig, "sqlstate", None)
    lost = type(problem.orig).__name__ == "OperationalError" and state is None
    return lost or state in _PASSING or str(state).startswith("08")
