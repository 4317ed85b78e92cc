"""What the database tells of trials by itself, without their curves being read."""

from typing import NamedTuple

from sqlalchemy import Connection, Text, cast, func, select

from results.store.rows import STATUSES
from results.store.schema import curves, sweep_trials, trials


class Outcome(NamedTuple):
    """A trial that has run, and the ends of its curve; ``first`` and ``least`` are None where it
    has none.
    """

    trial_id: str
    spec: str  # the trial as JSON
    status: str
    points: int
    first: int | None  # step
    least: float | None  # ASR of all points, a fraction


def outcomes(connection: Connection, sweep: str, game: str) -> list[Outcome]:
    """Of a sweep's trials of a game, in its plan's order."""
    members = select(sweep_trials.c.trial_id).where(sweep_trials.c.sweep == sweep)
    ends = select(
        curves.c.trial_id, func.count(), func.min(curves.c.step), func.min(curves.c.asr)
    ).where(curves.c.trial_id.in_(members))
    known = {row[0]: tuple(row[1:]) for row in connection.execute(ends.group_by(curves.c.trial_id))}
    rows = select(trials.c.id, cast(trials.c.spec, Text), trials.c.status).where(
        sweep_trials.c.trial_id == trials.c.id,
        sweep_trials.c.sweep == sweep,
        trials.c.game == game,
        trials.c.status.in_(STATUSES),
    )
    ordered = rows.order_by(sweep_trials.c.position, trials.c.id)
    none = (0, None, None)
    found = connection.execute(ordered)
    return [Outcome._make((*row, *known.get(row[0], none))) for row in found]
