"""Who runs which trial now: claims with a lease, which ends by the database's clock, never by a
driver's.

Each claim is one statement, so of several drivers exactly one has it. Every transaction that
touches a claim takes it before any other row, so that no two wait for one another.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    bindparam,
    delete,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from results.store import queries
from results.store.schema import claims
from results.store.statements import batches
from trials.spec import Record

# seconds since 1970; PostgreSQL's now() would be the start of a transaction that may have waited
# for a lock
_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
}
_WRITING = 60.0  # seconds; a claim that is taken and ended in one transaction needs a lease too


class Claims:
    """The statements on claims. Each method runs in the caller's transaction."""

    def __init__(self, dialect: str) -> None:
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect]
        self._now: ColumnElement[float] = literal_column(_NOW[dialect], Double)
        until = self._now + bindparam("seconds", type_=Double)
        fresh = insert(claims).values(
            trial_id=bindparam("trial"), owner=bindparam("by"), expires=until
        )
        free = or_(claims.c.owner == bindparam("by"), claims.c.expires < self._now)
        ours = {"owner": bindparam("by"), "expires": until}
        self._take = fresh.on_conflict_do_update(
            index_elements=["trial_id"], set_=ours, where=free
        ).returning(claims.c.trial_id)
        self._renew = update(claims).where(claims.c.owner == bindparam("by")).values(expires=until)

    def claim(self, connection: Connection, trial_id: str, owner: str, seconds: float) -> bool:
        """Take a trial that nobody holds, or whose lease ran out, or that is the owner's own."""
        given = {"trial": trial_id, "by": owner, "seconds": seconds}
        return connection.execute(self._take, given).first() is not None

    def renew(self, connection: Connection, owner: str, seconds: float) -> None:
        """Let all of an owner's claims end so many seconds from now; those taken by others are
        theirs.
        """
        connection.execute(self._renew, {"by": owner, "seconds": seconds})

    def release(self, connection: Connection, owner: str, trial_id: str | None) -> None:
        """End one of an owner's claims, or all."""
        mine = delete(claims).where(claims.c.owner == owner)
        connection.execute(mine if trial_id is None else mine.where(claims.c.trial_id == trial_id))

    def live(self, connection: Connection, trial_ids: Iterable[str]) -> set[str]:
        """Those of the trials that somebody holds."""
        found = set[str]()
        for ids in batches(list(trial_ids)):
            held = select(claims.c.trial_id).where(
                claims.c.trial_id.in_(ids), claims.c.expires >= self._now
            )
            found |= set(connection.scalars(held))
        return found

    def owners(self, connection: Connection) -> set[str]:
        """Everybody who holds a trial."""
        return set(
            connection.scalars(
                select(claims.c.owner).where(claims.c.expires >= self._now).distinct()
            )
        )

    def settle(self, connection: Connection, record: Record, owner: str | None) -> bool:
        """End the claim on a trial that has run; False if its record is not to be stored.

        An owner whose lease ran out may store a record only if nobody holds the trial by now and it
        has none, or has this very one (its transaction was repeated). Without an owner whoever
        holds the trial loses it: it is done.
        """
        trial_id = record.trial.id
        mine = delete(claims).where(claims.c.trial_id == trial_id)
        if owner is None:
            connection.execute(mine)
            return True
        mine = mine.where(claims.c.owner == owner)
        if connection.execute(mine).rowcount:
            return True
        if not self.claim(connection, trial_id, owner, _WRITING):
            return False
        connection.execute(mine)
        return queries.one(connection, trial_id) in (None, record)
