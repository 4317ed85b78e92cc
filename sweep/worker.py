"""What a worker process is, whatever started it: a bench with its threads set, and a spool that outlives the driver."""

import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.journal import note
from trials.spec import Point, Record, SpecError, Trial, record_from_json, to_json

if TYPE_CHECKING:
    from trials.bench import Bench


@dataclass(frozen=True)
class Place:
    """Where trials run: the artifacts folder (absolute), the device, torch's threads a trial."""

    artifacts: str
    device: str = "cpu"
    threads: int = 1

    @property
    def spool(self) -> Path:
        return Path(self.artifacts) / "spool"

    def perform(self, trial: Trial) -> Generator[Point, None, Record]:
        """The trial's points as they come, then its record, on this process's bench."""
        from trials.run import perform  # noqa: PLC0415  (loads torch)

        note(self.artifacts, trial.id, "started")
        record = yield from perform(trial, _bench(self))
        note(self.artifacts, trial.id, record.status)
        return record


def make_bench(place: Place) -> "Bench":
    """A bench in this process; sets torch's threads, since more threads than cores is far slower than fewer."""
    import torch  # noqa: PLC0415  (a driver that only plans never gets here)

    from trials.artifacts import Artifacts  # noqa: PLC0415
    from trials.bench import Bench  # noqa: PLC0415

    torch.set_num_threads(place.threads)
    return Bench(Artifacts(place.artifacts), device_for(place.device))


_bench = functools.lru_cache(1)(make_bench)  # kept warm for this process's next trial


def spool(record: Record, place: Place) -> str:
    """Put a finished record on disk before the driver hears of it; returns its JSON.

    Where the disk is full the driver is told all the same: the store may lie on another.
    """
    text = json.dumps(to_json(record))
    part = place.spool / f".{record.trial.id}.{os.getpid()}"
    try:
        place.spool.mkdir(parents=True, exist_ok=True)
        with part.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(_file(place, record.trial.id))
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return text


def unspool(place: Place, trial_id: str) -> None:
    """Drop a spooled record: the store has it."""
    _file(place, trial_id).unlink(missing_ok=True)


def spooled(place: Place, trial_id: str) -> Record | None:
    """The record that a worker put on disk before it was lost, if it came that far."""
    return _read(_file(place, trial_id))


def leftovers(place: Place) -> list[Record]:
    """Records of trials that finished while no driver was there to take them; what cannot be read is dropped."""
    from trials.artifacts import STALE  # noqa: PLC0415  (loads torch)

    if not place.spool.is_dir():
        return []
    for part in place.spool.glob(".*"):  # of writers that were killed
        if time.time() - part.stat().st_mtime > STALE:
            part.unlink(missing_ok=True)
    found = [(file, _read(file)) for file in sorted(place.spool.glob("[0-9a-f]*.json"))]
    for file, record in found:
        if record is None:  # of another version, or damaged: the trial runs again
            file.unlink(missing_ok=True)
    return [record for _, record in found if record is not None]


def die_with(parent: int) -> None:
    """End this process soon after ``parent``, its parent's id, is gone: a killed driver leaves nobody computing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
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


def _file(place: Place, trial_id: str) -> Path:
    return place.spool / f"{trial_id}.json"


def _read(file: Path) -> Record | None:
    try:
        return record_from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
