"""The store's writes as statements: an upsert is spelled for the dialect, and everything goes in
batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from results.store.rows import Row, curve_rows, score_rows, trial_row
from results.store.schema import curves, scores, sweep_trials, sweeps, trials, victims
from trials.json_forms import to_json
from trials.spec import Record, Victim

T = TypeVar("T")
BATCH = 500  # rows or ids a statement: below every database's limit on parameters


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[i : i + BATCH] for i in range(0, len(items), BATCH))


class Statements:
    """What a store writes. Each method runs in the caller's transaction."""

    def __init__(self, dialect: str) -> None:
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect]

        def upsert(table: Table, keep: Iterable[str] = ()) -> Any:
            statement, keys = insert(table), list(table.primary_key.columns)
            fresh = {
                c.key: statement.excluded[c.key]
                for c in table.columns
                if c not in keys and c.name not in keep
            }
            return statement.on_conflict_do_update(index_elements=keys, set_=fresh)

        self._sweep = upsert(sweeps, keep=["created"])
        self._trial = upsert(trials)
        self._point = upsert(curves)
        self._new_victim = insert(victims).on_conflict_do_nothing()
        self._new_member = insert(sweep_trials).on_conflict_do_nothing()

    def sweep(self, connection: Connection, row: Row) -> None:
        connection.execute(self._sweep, row)

    def victims(self, connection: Connection, some: Iterable[Victim]) -> None:
        rows = [{"id": v.id, "spec": to_json(v)} for v in some]
        for batch in batches(sorted(rows, key=_id)):
            connection.execute(self._new_victim, batch)

    def records(self, connection: Connection, records: Sequence[Record]) -> list[str]:
        """Replace the trials, their curves and scores; sorted, so that two writers cannot lock each
        other out.
        """
        latest = {r.trial.id: r for r in records}
        for ids in batches(sorted(latest)):
            some = [latest[i] for i in ids]
            connection.execute(self._trial, [trial_row(r) for r in some])
            for table in (curves, scores):
                connection.execute(delete(table).where(table.c.trial_id.in_(ids)))
            points = list(chain.from_iterable(curve_rows(r.trial.id, r.curve) for r in some))
            values = list(chain.from_iterable(map(score_rows, some)))
            if points:
                connection.execute(self._point, points)
            if values:
                connection.execute(scores.insert(), values)
        return [r.trial.id for r in records]

    def link(self, connection: Connection, sweep: str, ids: Sequence[str]) -> None:
        last = select(func.coalesce(func.max(sweep_trials.c.position), -1)).where(
            sweep_trials.c.sweep == sweep
        )
        start = 1 + (connection.scalar(last) or 0)
        rows = [{"sweep": sweep, "trial_id": t, "position": start + i} for i, t in enumerate(ids)]
        for batch in batches(sorted(rows, key=lambda row: str(row["trial_id"]))):
            connection.execute(self._new_member, batch)

    def forget(self, connection: Connection, ids: Sequence[str]) -> int:
        count = 0
        for batch in batches(sorted(ids)):
            those = select(trials.c.id).where(trials.c.id.in_(batch), trials.c.status == "failed")
            failed = list(connection.scalars(those.order_by(trials.c.id).with_for_update()))
            for table in (curves, scores):
                connection.execute(delete(table).where(table.c.trial_id.in_(failed)))
            blank = {"error": None, "seconds": None, "provenance": None, "finished": None}
            connection.execute(
                update(trials).where(trials.c.id.in_(failed)).values(status="planned", **blank)
            )
            count += len(failed)
        return count


def _id(row: Row) -> str:
    return str(row["id"])
