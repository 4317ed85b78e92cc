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

from trials import node_cache
from trials.folders import CHECKPOINT_EVERY, Folder, folder_at, is_uri
from trials.spec import Point, Record, SpecError, Trial, record_from_json, to_json

if TYPE_CHECKING:
    from trials.bench import Bench


@dataclass(frozen=True)
class Place:
    """Where trials run: the artifacts (an absolute folder or a URI), the device, torch's threads a trial, and the
    seconds between two checkpoints of a trial.
    """

    artifacts: str
    device: str = "cpu"
    threads: int = 1
    checkpoint: float = CHECKPOINT_EVERY

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

        return perform(trial, _bench(self))


def make_bench(place: Place) -> "Bench":
    """A bench in this process; sets torch's threads, since more threads than cores is far slower than fewer."""
    import torch  # noqa: PLC0415  (a driver that only plans never gets here)

    from trials.bench import Bench  # noqa: PLC0415
    from trials.far_artifacts import artifacts_at  # noqa: PLC0415

    torch.set_num_threads(place.threads)
    return Bench(artifacts_at(place.artifacts), device_for(place.device), place.checkpoint)


_bench = functools.lru_cache(1)(make_bench)  # kept warm for this process's next trial


def spool(record: Record, place: Place) -> str:
    """Put a finished record beside the artifacts before the driver hears of it; returns its JSON."""
    text = json.dumps(to_json(record))
    with contextlib.suppress(OSError):  # a full disk: the driver hears of it all the same
        place.spool.put(_name(record.trial.id), text.encode())
    return text


def unspool(place: Place, trial_id: str) -> None:
    """Drop a spooled record: the store has it."""
    with contextlib.suppress(OSError):  # then the next run stores it once more
        place.spool.drop(_name(trial_id))


def spooled(place: Place, trial_id: str) -> Record | None:
    """The record that a worker put away before it was lost, if it came that far."""
    return _read(place, _name(trial_id))


def leftovers(place: Place) -> list[Record]:
    """Records of trials that finished while no driver was there to take them; what cannot be read is dropped."""
    found = [(name, _read(place, name)) for name in place.spool.names() if name.endswith(".json")]
    for name, record in found:
        if record is None:  # of another version, or damaged: the trial runs again
            place.spool.drop(name)
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


def _name(trial_id: str) -> str:
    return f"{trial_id}.json"


def _read(place: Place, name: str) -> Record | None:
    try:
        return record_from_json(json.loads(place.spool.get(name)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
