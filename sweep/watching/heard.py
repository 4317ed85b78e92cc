"""What running drivers have told of their trials, read from their files."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.execution.now import ENDS_WITH
from sweep.execution.progress import Progress
from trials.json_forms import point_from_json, trial_from_json
from trials.reporting import TrialProgress

_GIVEN_UP = 600.0  # seconds of silence after which a driver of another machine counts as gone


@dataclass(frozen=True, slots=True)
class Heard:
    """One driver, as it last told.

    Attributes:
        driver: its machine and process.
        silent: seconds since then; drivers tell every two.
        progress: its counts, stage and running trials.
        ran: seconds since each of these was handed out, by trial id.
    """

    driver: str
    silent: float
    progress: Progress
    ran: Mapping[str, float]


class Listener:
    """Hears drivers. Clocks of machines may differ, so how long one has been silent is counted from
    when its file was last seen to change; of a file that has not changed yet, the clocks are
    believed.
    """

    def __init__(self) -> None:
        # what each driver told last, when that was first seen here, and how old it was then
        self._last: dict[str, tuple[float, float, float]] = {}

    def heard(self, folder: Path, sweep: str) -> Iterator[Heard]:
        """Of each driver of the sweep that lives, as far as this machine can tell.

        Args:
            folder: the drivers' scratch folder.
            sweep: its name.
        """
        for file in sorted((folder / "events").glob(f"*{ENDS_WITH}")):
            try:
                told = json.loads(file.read_text(encoding="utf-8"))
                found = _heard(told, self._silent(file.name, float(told["time"])))
                mine = told["sweep"] == sweep and _lives(told["host"], told["pid"], found.silent)
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
                OverflowError,
            ):  # gone meanwhile, or of another version
                continue
            if mine:
                yield found

    def _silent(self, name: str, told: float) -> float:
        """Seconds since the driver of that file told, at ``told`` by its own clock."""
        now = time.monotonic()
        if name not in self._last:
            self._last[name] = told, now, abs(time.time() - told)
        elif told != self._last[name][0]:
            self._last[name] = told, now, 0.0
        _, seen, old = self._last[name]
        return old + now - seen


def _lives(host: str, pid: int, silent: float) -> bool:
    """False for a driver of this machine whose process is gone, and for another machine's that has
    told nothing for ten minutes.
    """
    if host != socket.gethostname():
        return silent <= _GIVEN_UP
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _heard(told: Mapping[str, Any], silent: float) -> Heard:
    progress, ran = Progress(**told["counts"], stage=list(told["stage"])), dict[str, float]()
    for one in told["running"]:
        trial = trial_from_json(one["trial"])
        progress.running[trial.id] = trial
        ran[trial.id] = max(0.0, told["time"] - one["began"]) + silent  # both by its own clock
        if one["point"]:
            progress.points[trial.id] = point_from_json(one["point"])
        if one["loop"]:
            progress.loops[trial.id] = TrialProgress(**one["loop"])
    return Heard(f"{told['host']}, process {told['pid']}", silent, progress, ran)
