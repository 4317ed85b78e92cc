"""What the store holds of a stage's searches: read once for all of them, then what other drivers
add as they add it.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from results.store import Store
from sweep.planning import expansion
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial

LOOK = 1.0  # seconds between two looks at what other drivers have stored, at least
SHARE = 0.01  # of its time a driver looks at most, however many records there are

_Row = tuple[str, str, float]  # what of a trial is cheap to read: victim, method, trusted
Where = tuple[_Row, str]  # such a row, and the identity of the trial's self-poisoning


@dataclass(slots=True)
class FeedReader:
    """A search's records: those that were stored before it began, and those that it has not taken
    yet.

    Args:
        before: stored before it began.
        own: ids of trials that it asked for itself, which it knows already.
    """

    before: list[Record] = field(default_factory=list)
    own: set[str] = field(default_factory=set)
    new: list[Record] = field(default_factory=list)
    _feed: "SearchFeed | None" = None

    def take(self) -> list[Record]:
        """What other drivers stored since the last call, as of the latest look at the store."""
        if self._feed is not None:
            self._feed.look()
        taken, self.new = self.new, []
        return taken


class SearchFeed:
    """The readers of a stage. The store is looked at for all of them together, at most once in
    ``LOOK`` seconds and, where that takes long, for ``SHARE`` of the time; each new record that is
    nobody's own is read once.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self._sweep, self._store = sweep, store
        records = store.records(sweep.name, sweep.game)
        self._seen = {r.trial.id for r in records}
        self._before: dict[Where, list[Record]] = defaultdict(list)
        for record in expansion.own(sweep, records):
            self._before[_where(record.trial)].append(record)
        self._boxes: dict[_Row, list[tuple[Where, FeedReader]]] = defaultdict(list)
        self._next = time.monotonic() + LOOK

    def reader(self, task: expansion.TuningTask, method: str) -> FeedReader:
        """The reader of the search of a method's settings for a task."""
        where = (task.victim.id, method, task.trusted), expansion.key_of(task.self_poisoning)
        box = FeedReader(self._before[where], _feed=self)
        self._boxes[where[0]].append((where, box))
        return box

    def look(self) -> None:
        """Put what other drivers have stored since into the readers, if it is time to look."""
        began = time.monotonic()
        if began < self._next:
            return
        for trial_id, victim, method, trusted in self._store.finished(
            self._sweep.name, self._sweep.game
        ):
            if trial_id not in self._seen:
                self._seen.add(trial_id)
                self._deliver(trial_id, list(self._takers(trial_id, (victim, method, trusted))))
        over = time.monotonic()
        self._next = over + LOOK * max(1, (over - began) / SHARE)

    def _takers(self, trial_id: str, row: _Row) -> Iterator[tuple[Where, FeedReader]]:
        boxes = self._boxes.get(row, [])
        asked = {where for where, box in boxes if trial_id in box.own}
        for where, box in boxes:
            if trial_id not in box.own and (not asked or where in asked):
                yield where, box

    def _deliver(self, trial_id: str, takers: list[tuple[Where, FeedReader]]) -> None:
        if not takers:
            return
        record = self._store.get(trial_id)
        if record is None:  # taken back to planned since: heard of when it has run again
            self._seen.discard(trial_id)
            return
        if not expansion.own(self._sweep, [record]):
            return
        for where, box in takers:
            if where == _where(record.trial):
                box.new.append(record)


def _where(trial: Trial) -> Where:
    return (
        trial.victim.id,
        trial.method.name if trial.method else "",
        trial.trusted,
    ), expansion.key_of(trial.self_poisoning)
