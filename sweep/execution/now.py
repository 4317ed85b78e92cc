"""How far this driver's trials are, for other processes that look: one small file, replaced every
two seconds while the driver lives.

It decides nothing: the store is the only truth.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweep.execution.progress import Progress, ProgressReporter
from sweep.execution.stops import ENDING, GRACE
from trials.json_forms import to_json
from trials.spec import Record, Trial
from trials.whole import whole

EVERY = 2.0  # seconds between two versions of the file
ENDS_WITH = ".now.json"
COUNTS = ("planned", "stored", "done", "failed", "pruned", "blocked", "remote_done")


class Now:
    """A reporter that passes each event on, and a context manager that tells while the sweep runs.

    Args:
        folder: the driver's scratch folder; the file lies in its ``events``.
        sweep: its name.
        reporter: told of each event, too.
    """

    def __init__(self, folder: Path, sweep: str, reporter: ProgressReporter | None) -> None:
        self._file = folder / "events" / f"{socket.gethostname()}-{os.getpid()}{ENDS_WITH}"
        self._sweep, self._reporter = sweep, reporter
        self._began: dict[str, float] = {}
        self._seen = Progress()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, name="now", daemon=True)

    def __call__(self, event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        if self._reporter is not None:
            self._reporter(event, trial, progress, record)
        running = dict(progress.running)
        now = time.time()
        self._began = {i: self._began.get(i, now) for i in running}
        seen = Progress(**{key: getattr(progress, key) for key in COUNTS})
        seen.running, seen.stage = running, list(progress.stage)
        seen.points, seen.loops = dict(progress.points), dict(progress.loops)
        self._seen = seen

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._clock.join(GRACE)
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _tick(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # the main thread hears them
        while not self._over.wait(EVERY):
            with contextlib.suppress(OSError):  # a full disk costs the page, not the sweep
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with whole(self._file) as draft:
                    draft.write_text(json.dumps(self._told()), encoding="utf-8")

    def _told(self) -> Mapping[str, Any]:
        seen, began = self._seen, self._began
        return {
            "sweep": self._sweep,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": time.time(),
            "stage": seen.stage,
            "counts": {key: getattr(seen, key) for key in COUNTS},
            "running": [
                {
                    "trial": to_json(trial),
                    "began": began.get(trial_id, time.time()),
                    "point": to_json(seen.points[trial_id]) if trial_id in seen.points else None,
                    "loop": asdict(seen.loops[trial_id]) if trial_id in seen.loops else None,
                }
                for trial_id, trial in seen.running.items()
            ],
        }
