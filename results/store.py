"""The one truth about what ran: a SQL store by URL, SQLite (embedded, the default) or PostgreSQL (clusters).

One transaction a record: a record is in the store whole, or not at all. On SQLite one process writes, any number read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from results import database, reads
from results.address import reason, shown
from results.reads import SweepRow
from results.rows import now
from results.schema import sweep_trials, sweeps, trials
from results.writes import Writes
from trials.spec import Point, Record, SpecError, Status, Trial, to_json, trial_from_json

DEFAULT_URL = "sqlite:///runs/poisonsweep.db"


class Store:
    """Sweeps, trials and their curves. Open one with ``Store.open``; it is a context manager too."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read = database.reading(engine)
        self._write = database.writing(engine)
        self._sql = Writes(engine.dialect.name)
        self._victims: set[str] = set()  # those known to be in the store, so that they are not sent again

    @classmethod
    def open(cls, url: str = DEFAULT_URL, *, create: bool = True) -> Self:
        """Open, make or migrate the store at ``url``, a database URL or a path ending in ``.db``.

        Raises:
            SpecError: not a database, a newer schema, a folder that cannot be written, or no store and not ``create``.
        """
        return cls(database.connect(url, create=create))

    def add_sweep(self, name: str, spec: Mapping[str, Any]) -> None:
        """Add a sweep, or give a known one a new ``spec``; its time of creation stays.

        With another spec it loses its members (their records stay): what an older spec asked for is no longer its own.
        """
        with self._writing() as connection:
            known = connection.scalar(select(sweeps.c.spec).where(sweeps.c.name == name))
            if known is not None and known != to_json(spec):
                connection.execute(delete(sweep_trials).where(sweep_trials.c.sweep == name))
            self._sql.sweep(connection, {"name": name, "spec": to_json(spec), "created": now()})

    def sweeps(self) -> list[SweepRow]:
        """Every sweep, oldest first."""
        with self._reading() as connection:
            return reads.all_sweeps(connection)

    def plan(self, sweep: str, trials: Sequence[Trial]) -> None:
        """Make trials members of a sweep, in this order, before they run. What they already gave stays.

        Raises:
            LookupError: the sweep was not added.
        """
        with self._writing() as connection:
            self._sql.victims(connection, {t.victim.id: t.victim for t in trials}.values())
            self._sql.plan(connection, trials)
            self._sql.link(connection, sweep, [t.id for t in trials])

    def planned(self, sweep: str) -> list[Trial]:
        """All of a sweep's trials in the order of the plan, run or not. Raises SpecError for an unknown sweep."""
        with self._reading() as connection:
            reads.check_sweep(connection, sweep)
            query = select(trials.c.spec).join(sweep_trials).where(sweep_trials.c.sweep == sweep)
            specs = connection.scalars(query.order_by(sweep_trials.c.position, trials.c.id))
            return [trial_from_json(spec) for spec in specs]

    def link(self, sweep: str, trial_id: str) -> None:
        """Make a stored trial a member of a sweep. Raises LookupError if either is not in the store."""
        with self._writing() as connection:
            self._sql.link(connection, sweep, [trial_id])

    def put(self, record: Record, sweep: str | None = None) -> None:
        """Store one record for good, in place of what the trial had; on return it survives a power cut.

        Raises:
            ValueError: a value that is not finite, or a failed trial with metrics; nothing is stored.
            LookupError: the sweep was not added; nothing is stored.
        """
        self.put_many([record], sweep)

    def put_many(self, records: Iterable[Record], sweep: str | None = None) -> None:
        """Store records in one transaction: all of them or, if it raises as ``put`` does, none."""
        records = list(records)
        fresh = {v.id: v for v in {id(r.trial.victim): r.trial.victim for r in records}.values()}
        fresh = {i: v for i, v in fresh.items() if i not in self._victims}
        with self._writing() as connection:
            self._sql.victims(connection, fresh.values())
            ids = self._sql.records(connection, records)
            if sweep is not None:
                self._sql.link(connection, sweep, ids)
        self._victims |= fresh.keys()

    def point(self, trial_id: str, point: Point) -> None:
        """Store one point of a planned or stored trial's curve, in place of one at the same step.

        Raises:
            ValueError: a value that is not finite.
            LookupError: the trial is not in the store.
        """
        with self._writing() as connection:
            self._sql.point(connection, trial_id, point)

    def forget(self, trial_ids: Iterable[str]) -> int:
        """Take failed records back to planned, so that they run again; others stay. Returns how many it took."""
        with self._writing() as connection:
            return self._sql.forget(connection, list(trial_ids))

    def get(self, trial_id: str) -> Record | None:
        """The trial's record, or None if it has not run."""
        with self._reading() as connection:
            return reads.one(connection, trial_id)

    def statuses(self, trial_ids: Iterable[str]) -> dict[str, Status]:
        """The states of those trials that have run."""
        with self._reading() as connection:
            return reads.statuses(connection, list(trial_ids))

    def records(self, sweep: str | None = None, game: str | None = None) -> list[Record]:
        """What ran, in the order of the sweep's plan or of finishing. Raises SpecError for an unknown sweep."""
        with self._reading() as connection:
            if sweep is not None:
                reads.check_sweep(connection, sweep)
            return reads.many(connection, sweep, game)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that reads. Raises SpecError for what is damaged, or was written by something else."""
        try:
            with self._read.begin() as connection:
                yield connection
        except SpecError:
            raise
        except DBAPIError as problem:
            why = reason(problem, self._engine.url)
            raise SpecError(f"store {shown(self._engine.url)} cannot be read: {why}.") from problem
        except (ValueError, TypeError, RecursionError) as problem:  # of JSON that is none
            why = f"{type(problem).__name__}: {problem}"
            raise SpecError(f"store {shown(self._engine.url)} is damaged, or not ours ({why}).") from problem

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._write.begin() as connection:
                yield connection
        except IntegrityError as problem:
            if "foreign key" not in str(problem.orig).lower():
                raise
            raise LookupError("no such sweep or trial in the store: add the sweep, plan its trials") from problem
        except DBAPIError as problem:
            why = reason(problem, self._engine.url)
            raise SpecError(f"store {shown(self._engine.url)} cannot be written: {why}.") from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({shown(self._engine.url)})"
