"""The one truth about what ran: a SQL store by URL, SQLite (embedded, the default) or PostgreSQL
(clusters).

One transaction a record: a record is in the store whole, or not at all. Any number of drivers may
share a store, for the same sweep or others: each claims a trial before it runs it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Self

from sqlalchemy import Connection, Engine, delete, select

from results.store import queries, sweep_specs
from results.store.claims import Claims
from results.store.engine import claiming, connect
from results.store.outcomes import Outcome, outcomes
from results.store.queries import Failure, SweepRow
from results.store.retry import RetryPolicy
from results.store.rows import now
from results.store.schema import sweep_trials, sweeps
from results.store.statements import Statements, batches
from results.store.transactions import Transactions
from results.store.url import masked
from trials.json_forms import to_json
from trials.spec import Record, Status, Trial

DEFAULT_URL = "sqlite:///runs/poisonsweep.db"


class Store(Transactions):
    """Sweeps, trials and their curves. Open one with ``Store.open``; it is a context manager too.

    Every call is one transaction that may be repeated. Raises SpecError where the database cannot
    be reached.
    """

    def __init__(
        self, engine: Engine, retry: RetryPolicy | None = None, *, write: bool = True
    ) -> None:
        super().__init__(engine, retry or RetryPolicy(), write=write)
        self._claim = claiming(engine)
        self._sql = Statements(engine.dialect.name)
        self._claims = Claims(engine.dialect.name)
        # ids of victims known to be in the store, so that their rows are not sent again
        self._victims: set[str] = set()

    @classmethod
    def open(cls, url: str = DEFAULT_URL, *, create: bool = True) -> Self:
        """Open, make or migrate the store at ``url``, a database URL or a path ending in ``.db``.

        Raises:
            SpecError: not a database, a newer schema, a folder that cannot be written, or no store
                and not ``create``.
        """
        return cls(connect(url, create=create))

    @classmethod
    def read(cls, url: str = DEFAULT_URL) -> Self:
        """Open the store at ``url`` without ever changing it, its folder, or its schema; safe for a
        stranger's file.

        Raises:
            SpecError: as ``open``; a schema that only migration makes readable; no right to read
                it.
        """
        return cls(connect(url, create=False, write=False), write=False)

    def patient(self, seconds: float, say: Callable[[str], None] | None = None) -> Self:
        """The same store, which repeats a call for up to so many seconds while the database cannot
        be reached.

        ``say`` is told one line when that begins.
        """
        retry = RetryPolicy(seconds, say) if say else RetryPolicy(seconds)
        return type(self)(self._engine, retry, write=self._may_write)

    def add_sweep(self, name: str, spec: Mapping[str, Any], *, replace: bool = False) -> None:
        """Add a sweep, or give a known one a new ``spec``; its time of creation stays.

        A spec that asks for all that the stored one did, and more, keeps the sweep's members. With
        ``replace`` any other takes the name over, and what the older spec asked for is no member
        any more (its records stay).

        Raises:
            SpecError: another spec is stored under the name, and not ``replace``.
        """
        plain = to_json(spec)

        def work(connection: Connection) -> None:
            known = connection.scalar(select(sweeps.c.spec).where(sweeps.c.name == name))
            if known is not None and known != plain:
                if not replace:
                    sweep_specs.check_covers(name, known, plain)
                if not sweep_specs.keeps_members(known, plain):
                    connection.execute(delete(sweep_trials).where(sweep_trials.c.sweep == name))
            self._sql.sweep(connection, {"name": name, "spec": plain, "created": now()})

        self._writing(work)

    def sweeps(self) -> list[SweepRow]:
        """Every sweep, oldest first."""
        return self._reading(queries.all_sweeps)

    def link(self, sweep: str, trial_id: str) -> None:
        """Make a stored trial a member of a sweep.

        Raises LookupError if either is not in the store.
        """
        self._writing(lambda connection: self._sql.link(connection, sweep, [trial_id]))

    def claim(self, trial_id: str, owner: str, seconds: float) -> bool:
        """Take a trial for ``seconds`` of the database's clock; False while another owner's claim
        on it lasts.
        """
        return self._transaction(
            self._claim, lambda connection: self._claims.claim(connection, trial_id, owner, seconds)
        )

    def renew(self, owner: str, seconds: float) -> None:
        """Let all claims that the owner still has last ``seconds`` from now."""
        self._transaction(
            self._claim, lambda connection: self._claims.renew(connection, owner, seconds)
        )

    def release(self, owner: str, trial_id: str | None = None) -> None:
        """End the owner's claim on one trial, or all of them."""
        self._transaction(
            self._claim, lambda connection: self._claims.release(connection, owner, trial_id)
        )

    def owners(self) -> set[str]:
        """Whoever has a claim that lasts."""
        return self._reading(self._claims.owners)

    def claimed(self, trial_ids: Iterable[str]) -> set[str]:
        """Those of the trials on which a claim lasts, whoever's it is."""
        return self._reading(lambda connection: self._claims.live(connection, trial_ids))

    def put(self, record: Record, sweep: str | None = None, owner: str | None = None) -> bool:
        """Store one record for good, in place of what the trial had; on return it survives a power
        cut.

        The claim on the trial ends with it. An ``owner`` whose lease ran out comes too late where
        another holds the trial by now or has stored it: then nothing is stored, and False returned.
        Without an owner it always is.

        Raises:
            ValueError: a value that is not finite, or a failed trial with metrics; nothing is
                stored.
            LookupError: the sweep was not added; nothing is stored.
        """

        def work(connection: Connection) -> bool:
            in_time = self._claims.settle(connection, record, owner)
            if in_time:
                self._put(connection, [record], sweep)
            return in_time

        in_time = self._writing(work)
        if in_time:
            self._victims.add(record.trial.victim.id)
        return in_time

    def put_many(self, records: Iterable[Record], sweep: str | None = None) -> None:
        """Store records in one transaction: all of them or, if it raises as ``put`` does, none."""
        records = list(records)
        self._writing(lambda connection: self._put(connection, records, sweep))
        self._victims |= {r.trial.victim.id for r in records}

    def take(
        self,
        records: Iterable[Record],
        sweeps: Mapping[str, tuple[Mapping[str, Any], Sequence[str]]],
    ) -> None:
        """Store records of other stores, and file trials under sweeps, all in one transaction.

        A trial that is done by now stays as it is.

        Args:
            records: each of another trial.
            sweeps: by name the spec, and the ids of trials in the order of the plan.

        Raises:
            ValueError, LookupError: as ``put``; nothing is stored.
        """
        records = list(records)

        def work(connection: Connection) -> None:
            states = queries.statuses(connection, [r.trial.id for r in records])
            self._put(connection, [r for r in records if states.get(r.trial.id) != "done"], None)
            for name, (spec, ids) in sweeps.items():
                plain = {"name": name, "spec": to_json(spec), "created": now()}
                self._sql.sweep(connection, plain)
                self._sql.link(connection, name, ids)

        self._writing(work)

    def _put(self, connection: Connection, records: Sequence[Record], sweep: str | None) -> None:
        objects = {id(r.trial.victim): r.trial.victim for r in records}  # an id takes a while
        fresh = {v.id: v for v in objects.values()}
        self._sql.victims(connection, [v for i, v in fresh.items() if i not in self._victims])
        ids = self._sql.records(connection, records)
        if sweep is not None:
            self._sql.link(connection, sweep, ids)

    def forget(self, trial_ids: Iterable[str]) -> int:
        """Take failed records back to planned, so that they run again; others stay.

        Returns how many it took.
        """
        ids = list(trial_ids)
        return self._writing(lambda connection: self._sql.forget(connection, ids))

    def get(self, trial_id: str) -> Record | None:
        """The trial's record, or None if it has not run."""
        return self._reading(lambda connection: queries.one(connection, trial_id))

    def ids(self) -> list[str]:
        """The ids of all trials that have run, sorted."""
        return self._reading(queries.ids)

    def statuses(self, trial_ids: Iterable[str]) -> dict[str, Status]:
        """The states of those trials that have run."""
        ids = list(trial_ids)
        return self._reading(lambda connection: queries.statuses(connection, ids))

    def finished(self, sweep: str, game: str) -> list[tuple[str, str, str, float]]:
        """A sweep's trials of a game that have run: id, victim's id, method's name, trusted."""
        return self._reading(lambda connection: queries.finished(connection, sweep, game))

    def records(self, sweep: str | None = None, game: str | None = None) -> list[Record]:
        """What ran, in the order of the sweep's plan or of finishing. Raises SpecError for an
        unknown sweep.

        ``game`` leaves the others out, before they are read.
        """

        def work(connection: Connection) -> list[Record]:
            if sweep is not None:
                queries.check_sweep(connection, sweep)
            return queries.many(connection, sweep, game)

        return self._reading(work)

    def records_of(self, trial_ids: Sequence[str]) -> list[Record]:
        """The records of those trials that have run, in the order of the ids."""

        def work(connection: Connection) -> list[Record]:
            some = (queries.many(connection, None, ids=ids) for ids in batches(trial_ids))
            found = {r.trial.id: r for r in chain.from_iterable(some)}
            return [found[i] for i in trial_ids if i in found]

        return self._reading(work)

    def outcomes(self, sweep: str, game: str) -> list[Outcome]:
        """What is known without any curve of a sweep's trials of a game, in its plan's order."""
        return self._reading(lambda connection: outcomes(connection, sweep, game))

    def members(self, sweep: str) -> list[str]:
        """The ids of the sweep's trials that have run, in the order of its plan."""
        return self._reading(lambda connection: queries.members(connection, sweep))

    def failures(self, sweep: str) -> list[Failure]:
        """The sweep's failed trials, in the order of its plan; nothing else is read."""
        return self._reading(lambda connection: queries.failures(connection, sweep))

    def durations(self) -> list[tuple[Trial, float, int]]:
        """For each kind of trial that is done: one of them, their mean seconds, and how many they
        are.

        Trials are of a kind where their game, victim and method's name are the same.
        """
        return self._reading(queries.durations)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({masked(self._engine.url)})"
