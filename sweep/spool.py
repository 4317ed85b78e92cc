"""Finished records beside the artifacts: a worker puts each there before the driver hears of it, the driver drops it.

So what a worker has finished outlives its driver, and whatever becomes of the pipe between them. A record is dropped
when the store has it, never before.
"""

import contextlib
import json
import time
from typing import TYPE_CHECKING

from sweep.worker import Place, late_name
from trials.folders import is_uri
from trials.spec import Record, Trial, record_from_json, to_json

if TYPE_CHECKING:
    from results.store import Store

PAUSES = (0.2, 1.0)  # seconds before a file that could not be read is tried again


class Spool:
    """The records that wait at a place.

    Args:
        place: where trials run.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._folder = place, place.spool

    def put(self, record: Record) -> str:
        """Keep a finished record; returns its JSON. On a full disk only the driver hears of it."""
        text = json.dumps(to_json(record))
        with contextlib.suppress(OSError):
            self._folder.put(_name(record.trial.id), text.encode())
        return text

    def get(self, trial_id: str) -> Record | None:
        """The record that waits of a trial."""
        return self._read(trial_id)[0]

    def drop(self, trial_id: str) -> None:
        """The store has it."""
        with contextlib.suppress(OSError):  # then the next run drops it
            self._folder.drop(_name(trial_id))
        if self._place.time_limit:
            self._place.late(trial_id).unlink(missing_ok=True)
            if is_uri(self._place.artifacts):
                with contextlib.suppress(OSError):
                    self._folder.drop(late_name(trial_id))

    def leftovers(self) -> list[Record]:
        """All records that wait; what is damaged, or of another version, is dropped, and its trial runs again."""
        found = []
        for trial_id in (n.removesuffix(".json") for n in self._folder.names() if n.endswith(".json")):
            record, hopeless = self._read(trial_id)
            if record is not None:
                found.append(record)
            elif hopeless:
                self.drop(trial_id)
        return found

    def take_up(self, store: "Store", owner: str) -> None:
        """Store what waits and nobody runs; what the store has already is as it should be.

        A record whose trial another driver holds stays: that driver, or whoever takes over from it, looks here.
        """
        for record in self.leftovers():
            if store.get(record.trial.id) is not None or store.put(record, owner=owner):
                self.drop(record.trial.id)

    def last_word(self, trial: Trial) -> Record | None:
        """What a lost worker left of its trial: its record, or one that says that it was ended at the time limit."""
        record, limit = self.get(trial.id), self._place.time_limit
        if record is not None or not limit:
            return record
        text = self._told(trial.id)
        if not text.startswith("Timeout"):  # it was lost before
            return None
        return Record(trial=trial, status="failed", error=f"{text.strip()}\n\ntime limit of {limit:g} s", seconds=limit)

    def _told(self, trial_id: str) -> str:
        """Where a trial hung, by what its process wrote when it was ended."""
        with contextlib.suppress(OSError):
            if text := self._place.late(trial_id).read_text(encoding="utf-8", errors="replace"):
                return text  # else an attempt on this machine was lost before, and one on another may have hung
        with contextlib.suppress(OSError):
            return self._folder.get(late_name(trial_id)).decode(errors="replace")
        return ""

    def _read(self, trial_id: str) -> tuple[Record | None, bool]:
        """The record, if there is one, and whether its file can never be read."""
        for pause in (*PAUSES, 0.0):
            try:
                return record_from_json(json.loads(self._folder.get(_name(trial_id)))), False
            except FileNotFoundError:
                break
            except OSError:  # a network's, perhaps
                time.sleep(pause)
            except (ValueError, KeyError, TypeError):
                return None, True
        return None, False


def _name(trial_id: str) -> str:
    return f"{trial_id}.json"
