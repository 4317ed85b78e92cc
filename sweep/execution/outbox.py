"""Finished records on disk, beside the artifacts, until the store has them.

A worker writes each record here before it tells the driver, and the driver deletes it once the
store has it, never before. So a record is not lost where the driver dies or the pipe between the
two breaks. It is kept with the name of the sweep that asked for it, and whichever driver finds it
links it to that sweep.
"""

import contextlib
import json
import time
from typing import TYPE_CHECKING

from sweep.execution.worker import WorkerConfig, timeout_trace_name
from trials.json_forms import record_from_json, to_json
from trials.spec import Record, Trial
from trials.storage.blobs import is_uri

if TYPE_CHECKING:
    from results.store import Store

# a record, and the name of the sweep that asked for it; "" in files that older versions wrote
Waiting = tuple[Record, str]
PAUSES = (0.2, 1.0)  # seconds before a file that could not be read is tried again


class Outbox:
    """The records that wait at a place.

    Args:
        worker_config: where trials run.
    """

    def __init__(self, worker_config: WorkerConfig) -> None:
        self._worker_config, self._folder = worker_config, worker_config.outbox

    def put(self, record: Record) -> str:
        """Keep a finished record; returns its JSON. On a full disk only the driver hears of it."""
        text = json.dumps({**to_json(record), "sweep": self._worker_config.sweep})
        with contextlib.suppress(OSError):
            self._folder.put(_name(record.trial.id), text.encode())
        return text

    def get(self, trial_id: str) -> Record | None:
        """The record that waits of a trial."""
        found = self.found(trial_id)
        return found[0] if found else None

    def found(self, trial_id: str) -> Waiting | None:
        """The record that waits of a trial, and the sweep that asked for it."""
        return self._read(trial_id)[0]

    def drop(self, trial_id: str) -> None:
        """The store has it."""
        with contextlib.suppress(OSError):  # then the next run drops it
            self._folder.drop(_name(trial_id))
        if self._worker_config.time_limit:
            self._worker_config.timeout_trace(trial_id).unlink(missing_ok=True)
            if is_uri(self._worker_config.artifacts):
                with contextlib.suppress(OSError):
                    self._folder.drop(timeout_trace_name(trial_id))

    def pending(self) -> list[Record]:
        """All records that wait; what is damaged, or of another version, is dropped, and its trial
        runs again.
        """
        return [record for record, _ in self._waiting()]

    def take_up(self, store: "Store", owner: str) -> None:
        """Store what waits and nobody runs, under the sweep that asked for it; what the store has
        already stays.

        A record whose trial another driver holds stays here: that driver, or whoever takes over
        from it, looks here.
        """
        for record, sweep in self._waiting():
            if store.get(record.trial.id) is not None or store.put(record, owner=owner):
                self.settle(store, record.trial.id, sweep)

    def settle(self, store: "Store", trial_id: str, sweep: str) -> None:
        """The store has it: it joins its sweep and is dropped, but where that sweep is another
        store's.
        """
        if sweep:
            try:
                store.link(sweep, trial_id)
            except LookupError:
                return
        self.drop(trial_id)

    def last_word(self, trial: Trial) -> Record | None:
        """What a lost worker left of its trial: its record, or one that says that it was ended at
        the time limit.
        """
        record, limit = self.get(trial.id), self._worker_config.time_limit
        if record is not None or not limit:
            return record
        text = self._told(trial.id)
        if not text.startswith("Timeout"):  # it was lost before
            return None
        return Record(
            trial=trial,
            status="failed",
            error=f"{text.strip()}\n\ntime limit of {limit:g} s",
            seconds=limit,
        )

    def _told(self, trial_id: str) -> str:
        """Where a trial hung, by what its process wrote when it was ended."""
        with contextlib.suppress(OSError):
            if text := self._worker_config.timeout_trace(trial_id).read_text(
                encoding="utf-8", errors="replace"
            ):
                # else an attempt on this machine was lost before, and one on another may have hung
                return text
        with contextlib.suppress(OSError):
            return self._folder.get(timeout_trace_name(trial_id)).decode(errors="replace")
        return ""

    def _waiting(self) -> list[Waiting]:
        found = []
        for trial_id in (
            n.removesuffix(".json") for n in self._folder.names() if n.endswith(".json")
        ):
            waiting, hopeless = self._read(trial_id)
            if waiting is not None:
                found.append(waiting)
            elif hopeless:
                self.drop(trial_id)
        return found

    def _read(self, trial_id: str) -> tuple[Waiting | None, bool]:
        """What waits of a trial, if anything does, and whether its file can never be read."""
        for pause in (*PAUSES, 0.0):
            try:
                data = json.loads(self._folder.get(_name(trial_id)))
                return (record_from_json(data), str(data.get("sweep", ""))), False
            except FileNotFoundError:
                break
            except OSError:  # a network's, perhaps
                time.sleep(pause)
            except (ValueError, KeyError, TypeError):
                return None, True
        return None, False


def _name(trial_id: str) -> str:
    return f"{trial_id}.json"
