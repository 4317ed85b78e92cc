"""A store's transactions: repeated while the database is away, and with errors that a user can act
on.
"""

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from results.store import read_only
from results.store.engine import checkpoint, reading, writing
from results.store.retry import RetryPolicy
from results.store.url import file_of, masked, reason
from trials.spec import SpecError

# least time between two checkpoints of SQLite's log that a store asks for
CHECKPOINT_SECONDS = 10.0
T = TypeVar("T")


class Transactions:
    """Those of one database.

    Args:
        engine: reaches it.
        retry: repeats what found it away.
        write: False where it is only read.
    """

    def __init__(self, engine: Engine, retry: RetryPolicy, *, write: bool) -> None:
        self._engine, self._retry, self._may_write = engine, retry, write
        self._file = None if write else file_of(engine.url)  # of a store that is only read
        self._checkpointed = time.monotonic()
        self._read = reading(engine)
        self._write = writing(engine)

    def close(self) -> None:
        self._engine.dispose()

    def _reading(self, work: Callable[[Connection], T]) -> T:
        """A transaction that reads.

        Raises SpecError for what is damaged, or was written by something else.
        """
        try:
            return self._transaction(self._read, work)
        except SpecError:
            raise
        except DBAPIError as problem:
            why = reason(problem, self._engine.url)
            raise SpecError(f"store {masked(self._engine.url)} cannot be read: {why}.") from problem
        except (ValueError, TypeError, RecursionError) as problem:  # of JSON that is none
            why = f"{type(problem).__name__}: {problem}"
            raise SpecError(
                f"store {masked(self._engine.url)} is damaged, or not ours ({why})."
            ) from problem

    def _writing(self, work: Callable[[Connection], T]) -> T:
        try:
            done = self._transaction(self._write, work)
            self._checkpoint_now_and_then()
            return done
        except IntegrityError as problem:
            if "foreign key" not in str(problem.orig).lower():
                raise
            raise LookupError("no such sweep or trial in the store: add it first") from problem
        except DBAPIError as problem:
            why = reason(problem, self._engine.url)
            raise SpecError(
                f"store {masked(self._engine.url)} cannot be written: {why}."
            ) from problem

    def _transaction(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        def once() -> T:
            with engine.begin() as connection:
                return work(connection)

        if self._file is None:
            return self._retry(once, engine.url)
        return read_only.steadily(self._file, lambda: self._retry(once, engine.url))

    def _checkpoint_now_and_then(self) -> None:
        """So that whoever copies the file of a store in use misses only the last seconds."""
        if time.monotonic() - self._checkpointed < CHECKPOINT_SECONDS:
            return
        self._checkpointed = time.monotonic()
        with contextlib.suppress(DBAPIError):
            # what was written is safe in the log; the next time will do
            checkpoint(self._engine)
