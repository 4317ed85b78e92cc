"""What a worker process is, whatever started it: a bench with its threads set, and a spool that outlives the driver."""

import contextlib
import faulthandler
import functools
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.compute import Compute
from sweep.journal import note
from trials import node_cache
from trials.folders import CHECKPOINT_EVERY, Folder, folder_at, is_uri
from trials.spec import Point, Record, SpecError, Trial, record_from_json, to_json

if TYPE_CHECKING:
    from trials.bench import Bench


@dataclass(frozen=True)
class Place:
    """Where trials run: the artifacts (an absolute folder or a URI), the device, torch's threads a trial, the seconds
    between two checkpoints of a trial, and those that it may take.
    """

    artifacts: str
    device: str = "cpu"
    threads: int = 1
    checkpoint: float = CHECKPOINT_EVERY
    time_limit: float = 0  # 0: none

    @property
    def spool(self) -> Folder:
        """Beside the artifacts, so that the driver reads what any node has finished."""
        return folder_at(f"{self.artifacts.rstrip('/')}/spool")

    @property
    def scratch(self) -> Path:
        """A folder of this machine, for what an executor writes and forgets."""
        return node_cache.folder() if is_uri(self.artifacts) else Path(self.artifacts)

    def perform(self, trial: Trial) -> Generator[Point, None, Record]:
        """The trial's points as they come, then its record, on this process's bench."""
        from trials.run import perform  # noqa: PLC0415  (loads torch)

        note(self.scratch, trial.id, "started")
        record = yield from perform(trial, _bench(replace(self, time_limit=0)))
        note(self.scratch, trial.id, record.status)
        return record


def placed(place: Place, share: Compute) -> Place:
    """The place of a trial that gets this share."""
    return replace(place, threads=share.threads, time_limit=share.time_limit)


def make_bench(place: Place) -> "Bench":
    """A bench in this process; sets torch's threads, since more threads than cores is far slower than fewer."""
    import torch  # noqa: PLC0415  (a driver that only plans never gets here)

    from trials.bench import Bench  # noqa: PLC0415
    from trials.far_artifacts import artifacts_at  # noqa: PLC0415

    torch.set_num_threads(place.threads)
    return Bench(artifacts_at(place.artifacts), device_for(place.device), place.checkpoint)


_bench = functools.lru_cache(1)(make_bench)  # kept warm for this process's next trial


def perform(trial: Trial, place: Place) -> Generator[Point, None, Record]:
    """``place.perform``, but past the time limit this process ends itself, whatever it is doing.

    A thread of C does that, so code that never gives back Python's lock is ended too. Where it hung goes to a file that
    ``last_word`` reads. Time between the steps does not count.
    """
    steps, left = place.perform(trial), place.time_limit
    if not left:
        return (yield from steps)
    late = _late(place, trial.id)
    late.parent.mkdir(parents=True, exist_ok=True)
    with late.open("w") as stream:
        while True:
            began = time.monotonic()
            faulthandler.dump_traceback_later(max(left, 0.001), exit=True, file=stream)
            try:
                point = next(steps)
            except StopIteration as end:
                record: Record = end.value
                return record
            finally:
                faulthandler.cancel_dump_traceback_later()
            left -= time.monotonic() - began
            yield point


def spoilt(record: Record) -> bool:
    """True where a trial ran out of memory or broke its GPU's context: its process should run no other."""
    return record.status == "failed" and any(sign in (record.error or "") for sign in _SPOILT)


_SPOILT = ("MemoryError", "can't allocate memory", "CUDA error", "AcceleratorError", "CUBLAS_STATUS", "CUDNN_STATUS")


def spool(record: Record, place: Place) -> str:
    """Put a finished record beside the artifacts before the driver hears of it; returns its JSON."""
    text = json.dumps(to_json(record))
    with contextlib.suppress(OSError):  # a full disk: the driver hears of it all the same
        place.spool.put(_name(record.trial.id), text.encode())
    return text


def unspool(place: Place, trial_id: str) -> None:
    """Drop what a worker left of a trial: the store has it."""
    with contextlib.suppress(OSError):  # then the next run stores it once more
        place.spool.drop(_name(trial_id))
    if place.time_limit:
        _late(place, trial_id).unlink(missing_ok=True)


def spooled(place: Place, trial_id: str) -> Record | None:
    """The record that a worker put away before it was lost, if it came that far."""
    return _read(place, _name(trial_id))


def last_word(place: Place, trial: Trial) -> Record | None:
    """What a lost worker left of its trial: its record, or one that says that it was ended at the time limit."""
    record = spooled(place, trial.id)
    if record is not None or not place.time_limit:
        return record
    try:
        text = _late(place, trial.id).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if not text.startswith("Timeout"):  # it was lost before
        return None
    error = f"{text.strip()}\n\ntime limit of {place.time_limit:g} s"
    return Record(trial=trial, status="failed", error=error, seconds=place.time_limit)


def leftovers(place: Place) -> list[Record]:
    """Records of trials that finished while no driver was there to take them; what cannot be read is dropped."""
    found = [(name, _read(place, name)) for name in place.spool.names() if name.endswith(".json")]
    for name, record in found:
        if record is None:  # of another version, or damaged: the trial runs again
            place.spool.drop(name)
    return [record for _, record in found if record is not None]


def die_with_the_driver() -> None:
    """End this process as soon as the one that started it is gone: a killed driver leaves nobody computing."""
    driver = multiprocessing.parent_process()
    assert driver is not None

    def watch() -> None:
        driver.join()  # the system says when: nobody has to look again and again
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def device_for(wanted: str) -> str:
    """The torch device for ``auto``, ``cpu`` or ``cuda``. Raises SpecError for a GPU where there is none."""
    if wanted == "cpu":
        return wanted
    import torch  # noqa: PLC0415

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        count, number = torch.cuda.device_count(), wanted.removeprefix("cuda").removeprefix(":") or "0"
        if not torch.cuda.is_available():
            raise SpecError(f'device is {wanted!r}, but torch sees no GPU here. Write device = "auto" or "cpu".')
        if not number.isdecimal() or int(number) >= count:
            raise SpecError(f"device is {wanted!r}, but torch sees {count} GPUs here, counted from 0.")
    return wanted


def _name(trial_id: str) -> str:
    return f"{trial_id}.json"


def _late(place: Place, trial_id: str) -> Path:
    """Where a trial leaves its last word at its time limit; with artifacts at a URI a driver sees its own node's."""
    return place.scratch / "spool" / f".{trial_id}.late"


def _read(place: Place, name: str) -> Record | None:
    try:
        return record_from_json(json.loads(place.spool.get(name)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
