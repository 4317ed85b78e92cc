"""Who runs a trial: nobody, as the store has its record; another driver; or this one.

A trial is claimed in the store before it is handed out, so that no two drivers run it. This part
asks the store and the outbox, and changes them; it knows nothing of stages and counts nothing.
"""

from collections.abc import Callable, Iterable

from results.store import Store
from sweep.execution.driver import Driver
from sweep.execution.outbox import Outbox, Waiting
from trials.spec import Record, Trial


class Claims:
    """A driver's claims on the trials of a sweep.

    Args:
        store: the only truth.
        sweep: name under which trials are filed.
        driver: in whose name trials are claimed.
        usable: False for a stored trial whose artifact is gone, so that it runs again.
        outbox: where a driver that was killed since may have left a trial's record.
    """

    def __init__(
        self,
        store: Store,
        sweep: str,
        driver: Driver,
        usable: Callable[[Record], bool],
        outbox: Outbox | None,
    ) -> None:
        self._store, self._sweep, self._driver = store, sweep, driver
        self._usable, self._outbox = usable, outbox

    def stored(self, trial: Trial) -> Record | None:
        """The trial's record if the store has one that is usable; it then belongs to the sweep."""
        record = self._store.get(trial.id)
        if record is None or not self._usable(record):
            return None
        self._store.link(self._sweep, trial.id)
        return record

    def claim(self, trial: Trial) -> bool:
        """Claim a trial; False where another driver holds it."""
        return self._store.claim(trial.id, self._driver.name, self._driver.lease)

    def release(self, trial: Trial) -> None:
        """End the claim on a trial without a record."""
        self._store.release(self._driver.name, trial.id)

    def held(self, trial_ids: Iterable[str]) -> set[str]:
        """The trials among these that some driver has claimed."""
        return set(self._store.claimed(trial_ids))

    def left_behind(self, trial: Trial) -> Waiting | None:
        """The pending record that a killed driver left of a trial that is now ours; or None."""
        waiting = self._outbox.found(trial.id) if self._outbox else None
        return waiting if waiting is not None and self._usable(waiting[0]) else None

    def settle(self, trial: Trial, sweep: str) -> None:
        """Link a trial's pending record, which the store has now, to its sweep, and delete it from
        the outbox.
        """
        if self._outbox:
            self._outbox.settle(self._store, trial.id, sweep)

    def put(self, record: Record) -> bool:
        """Store a record and end the claim; False where another driver has taken the trial."""
        return self._store.put(record, self._sweep, self._driver.name)
