"""The store's queries for records.

Each runs in the caller's transaction, so that it sees one state of the store.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    Text,
    bindparam,
    cast,
    func,
    select,
)

from results.store.bulk import BLOCK, Reader, uncollected
from results.store.rows import STATUSES, record_of
from results.store.schema import curves, scores, sweep_trials, sweeps, trials
from results.store.statements import batches
from trials.catalog import unknown
from trials.spec import Record, SpecError, Status, Trial

_TRIALS: Select[Any] = select(
    trials.c.id,
    trials.c.spec,
    trials.c.status,
    trials.c.error,
    trials.c.seconds,
    trials.c.provenance,
).where(trials.c.status.in_(STATUSES))
_CURVES = select(
    curves.c.step, curves.c.cda, curves.c.asr, curves.c.seconds, curves.c.extra, curves.c.trial_id
)
_SCORES = select(scores.c.name, scores.c.value, scores.c.trial_id)
# the same with JSON as the text that it is stored as
_WRITTEN: Select[Any] = select(
    trials.c.id,
    cast(trials.c.spec, Text),
    trials.c.status,
    trials.c.error,
    trials.c.seconds,
    cast(trials.c.provenance, Text),
).where(trials.c.status.in_(STATUSES))
_POINTS = select(
    curves.c.trial_id,
    curves.c.step,
    curves.c.cda,
    curves.c.asr,
    curves.c.seconds,
    cast(curves.c.extra, Text),
)
_ONE: BindParameter[str] = bindparam("one")
_ONE_TRIAL = _TRIALS.where(trials.c.id == _ONE)
_ONE_CURVE = _CURVES.where(curves.c.trial_id == _ONE).order_by(curves.c.step)
_ONE_SCORES = _SCORES.where(scores.c.trial_id == _ONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """A sweep, and how many of its trials are in which state; ``trials`` counts those too that are
    to run again.
    """

    name: str
    spec: Mapping[str, Any]
    created: str  # UTC, ISO 8601
    trials: int
    done: int
    failed: int
    pruned: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that failed, and the traceback."""

    trial: Trial
    error: str | None


def all_sweeps(connection: Connection) -> list[SweepRow]:
    """Every sweep, oldest first."""
    every = _counts(connection)
    failed, pruned, planned = (_counts(connection, s) for s in ("failed", "pruned", "planned"))
    rows = connection.execute(select(sweeps.c.name, sweeps.c.spec, sweeps.c.created)).all()
    if not all(isinstance(row.name, str) and isinstance(row.created, str) for row in rows):
        raise SpecError(
            "the store's list of sweeps is damaged, or not ours. Restore it from a copy."
        )
    return [
        SweepRow(
            name=name,
            spec=spec,
            created=created,
            trials=every[name],
            done=every[name] - failed[name] - pruned[name] - planned[name],
            failed=failed[name],
            pruned=pruned[name],
        )
        for name, spec, created in sorted(rows, key=lambda row: (row.created, row.name))
    ]


def _counts(connection: Connection, status: str | None = None) -> Counter[str]:
    """How many trials each sweep has, those of one status or all: the trials are gone through, not
    looked up one by one.
    """
    query = select(sweep_trials.c.sweep, func.count()).group_by(sweep_trials.c.sweep)
    if status is not None:
        of_status = select(trials.c.id).where(trials.c.status == status)
        query = query.where(sweep_trials.c.trial_id.in_(of_status))
    return Counter(dict(tuple(row) for row in connection.execute(query)))


def one(connection: Connection, trial_id: str) -> Record | None:
    """The record of a trial that has run."""
    given = {"one": trial_id}
    row = connection.execute(_ONE_TRIAL, given).mappings().first()
    if row is None:
        return None
    curve = [r[:5] for r in connection.execute(_ONE_CURVE, given)]
    return record_of(
        dict(row), curve, {name: value for name, value, _ in connection.execute(_ONE_SCORES, given)}
    )


def many(
    connection: Connection,
    sweep: str | None,
    game: str | None = None,
    ids: Sequence[str] | None = None,
) -> list[Record]:
    """The records of a sweep in its plan's order, or all in the order of finishing; those with the
    ``ids`` alone where they are given.
    """

    def chosen(query: Select[Any]) -> Select[Any]:
        if sweep is not None:
            query = query.where(
                sweep_trials.c.trial_id == trials.c.id, sweep_trials.c.sweep == sweep
            )
        if ids is not None:
            query = query.where(trials.c.id.in_(ids))
        return query if game is None else query.where(trials.c.game == game)

    order = (trials.c.finished,) if sweep is None else (sweep_trials.c.position,)
    # a join would have to sort all points; with this SQLite reads them as they lie
    wanted = chosen(select(trials.c.id))
    curve = _POINTS.where(curves.c.trial_id.in_(wanted)).order_by(curves.c.trial_id, curves.c.step)
    score = _SCORES.where(scores.c.trial_id.in_(wanted))
    reader, metrics = Reader(), dict[str, dict[str, float]]()
    with uncollected():
        with _rows(connection, curve) as rows:
            points = reader.points(rows)
        with _rows(connection, score) as rows:
            for name, value, trial_id in rows:
                metrics.setdefault(trial_id, {})[sys.intern(name)] = value
        with _rows(connection, chosen(_WRITTEN).order_by(*order, trials.c.id)) as rows:
            return [
                reader.record(row, points.pop(row[0], ()), metrics.pop(row[0], {})) for row in rows
            ]


def failures(connection: Connection, sweep: str) -> list[Failure]:
    """A sweep's failed trials in its plan's order."""
    place = select(sweep_trials.c.position).where(
        sweep_trials.c.sweep == sweep, sweep_trials.c.trial_id == trials.c.id
    )
    query = _WRITTEN.where(trials.c.status == "failed", place.exists())
    reader = Reader()
    rows = connection.execute(query.order_by(place.scalar_subquery(), trials.c.id))
    failed = (reader.record(row, (), {}) for row in rows)
    return [Failure(record.trial, record.error) for record in failed]


def _rows(connection: Connection, query: Select[Any]) -> Any:
    """The rows, fetched by and by, so that they are never in memory together; to be closed."""
    return connection.execute(query, execution_options={"yield_per": BLOCK})


def durations(connection: Connection) -> list[tuple[Trial, float, int]]:
    """One trial, the mean seconds and the number of those that are done, for each game, victim and
    method's name.
    """
    kind = (trials.c.game, trials.c.victim_id, trials.c.method)
    query = select(func.min(trials.c.id), func.avg(trials.c.seconds), func.count()).where(
        trials.c.status == "done"
    )
    rows = [tuple(row) for row in connection.execute(query.group_by(*kind))]
    examples: dict[str, Trial] = {}
    for some in batches([trial_id for trial_id, _, _ in rows]):
        for row in connection.execute(_TRIALS.where(trials.c.id.in_(some))).mappings():
            examples[row["id"]] = record_of(dict(row), [], {}).trial
    return [(examples[trial_id], mean, number) for trial_id, mean, number in rows]


def ids(connection: Connection) -> list[str]:
    """The ids of all trials that have run, sorted."""
    return list(
        connection.scalars(
            select(trials.c.id).where(trials.c.status.in_(STATUSES)).order_by(trials.c.id)
        )
    )


def members(connection: Connection, sweep: str) -> list[str]:
    """The ids of a sweep's trials that have run, in the order of its plan."""
    query = select(trials.c.id).join(sweep_trials).where(sweep_trials.c.sweep == sweep)
    query = query.where(trials.c.status.in_(STATUSES))
    return list(connection.scalars(query.order_by(sweep_trials.c.position, trials.c.id)))


def statuses(connection: Connection, trial_ids: Sequence[str]) -> dict[str, Status]:
    """The states of those trials that have run."""
    found: dict[str, Status] = {}
    for some in batches(trial_ids):
        query = select(trials.c.id, trials.c.status).where(
            trials.c.id.in_(some), trials.c.status.in_(STATUSES)
        )
        for trial_id, status in connection.execute(query):
            found[trial_id] = status
    return found


def finished(connection: Connection, sweep: str, game: str) -> list[tuple[str, str, str, float]]:
    """A sweep's trials of a game that have run: id, victim's id, method's name, trusted."""
    query = select(
        trials.c.id, trials.c.victim_id, func.coalesce(trials.c.method, ""), trials.c.trusted
    )
    query = query.join(sweep_trials).where(sweep_trials.c.sweep == sweep, trials.c.game == game)
    rows = connection.execute(query.where(trials.c.status.in_(STATUSES)).order_by(trials.c.id))
    return [(trial_id, victim, method, trusted) for trial_id, victim, method, trusted in rows]


def check_sweep(connection: Connection, sweep: str) -> None:
    """Raises SpecError, with the nearest name, if there is no such sweep."""
    names = list(connection.scalars(select(sweeps.c.name).order_by(sweeps.c.created)))
    if sweep not in names:
        raise SpecError(unknown("sweep", sweep, names))
