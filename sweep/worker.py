"""What a worker process is, whatever started it: a bench with its threads set, and a spool that outlives the driver."""

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from trials.spec import Record, SpecError, record_from_json, to_json


@dataclass(frozen=True, slots=True)
class Place:
    """Where trials run: the artifacts folder (absolute), the device, torch's threads a trial."""

    artifacts: str
    device: str = "cpu"
    threads: int = 1

    @property
    def spool(self) -> Path:
        return Path(self.artifacts) / "spool"


def make_bench(place: Place) -> "Bench":  # noqa: F821
    """A bench in this process; sets torch's threads, since more threads than cores is far slower than fewer."""
    import torch  # noqa: PLC0415  (a driver that only plans never gets here)

    from trials.artifacts import Artifacts  # noqa: PLC0415
    from trials.bench import Bench  # noqa: PLC0415

    torch.set_num_threads(place.threads)
    return Bench(Artifacts(place.artifacts), device_for(place.device))


def spool(record: Record, place: Place) -> str:
    """Put a finished record on disk before the driver hears of it; returns its JSON."""
    text = json.dumps(to_json(record))
    place.spool.mkdir(parents=True, exist_ok=True)
    part = place.spool / f".{record.trial.id}.{os.getpid()}"
    with part.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(_file(place, record.trial.id))
    return text


def unspool(place: Place, trial_id: str) -> None:
    """Drop a spooled record: the store has it."""
    _file(place, trial_id).unlink(missing_ok=True)


def leftovers(place: Place) -> list[Record]:
    """Records of trials that finished while no driver was there to take them."""
    if not place.spool.is_dir():
        return []
    return [record_from_json(json.loads(f.read_text())) for f in sorted(place.spool.glob("[0-9a-f]*.json"))]


def die_with_parent() -> None:
    """End this process soon after its parent is gone, so that a killed driver leaves nobody computing."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def device_for(wanted: str) -> str:
    """The torch device for ``auto``, ``cpu`` or ``cuda``. Raises SpecError for a GPU where there is none."""
    import torch  # noqa: PLC0415

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise SpecError(f'device is {wanted!r}, but torch sees no GPU here. Write device = "auto" or "cpu".')
    return wanted


def _file(place: Place, trial_id: str) -> Path:
    return place.spool / f"{trial_id}.json"
