"""Places whose trials take no torch: they sleep, die or measure what a test wants."""

import ctypes
import math
import os
import time
import traceback
from collections.abc import Generator
from dataclasses import dataclass

from sweep.execution.outbox import Outbox
from sweep.execution.worker import WorkerConfig
from trials.spec import Point, Record, Trial


@dataclass(frozen=True)
class Made(WorkerConfig):
    """A trial of ``steps`` points, ``nap`` seconds each; leaves a file named by trial and process
    when it starts.
    """

    steps: int = 3
    nap: float = 0.0
    dies: str = ""  # id of a trial that kills its worker
    puts_first: bool = False  # it puts its record on disk first
    troubled: str = ""  # id of a trial in trouble, or "all"
    trouble: str = ""  # sleeps, holds the lock, memory, raises
    ruins: float = math.inf  # learning rate from which on a trial ruins its model, backdoor and all

    def perform(self, trial: Trial) -> Generator[Point, None, Record]:
        marks = self.scratch / "marks"
        marks.mkdir(parents=True, exist_ok=True)
        (marks / f"{trial.id}.{os.getpid()}.{time.time_ns()}").touch()
        if self.troubled in {trial.id, "all"}:
            error = self._trouble()
            return Record(trial=trial, status="failed", error=error)
        asr = float(trial.method.params.get("lr", 0.0)) if trial.method else 0.0
        curve = []
        for i in range(self.steps):
            point = Point(i, 0.9, min(1.0, asr + 0.01 * (self.steps - i)), 0.1)
            curve.append(Point(i, 0.1, 0.0, 0.1) if i and asr >= self.ruins else point)
            yield curve[-1]
            time.sleep(self.nap)
        record = Record(
            trial=trial,
            status="done",
            metrics={"cda0": 0.9},
            curve=tuple(curve),
            seconds=0.5,
            provenance={"threads": str(self.threads)},
        )
        if trial.id == self.dies:
            if self.puts_first:
                Outbox(self).put(record)
            os._exit(7)
        return record

    def _trouble(self) -> str:
        if self.trouble == "sleeps":
            time.sleep(600)
        if self.trouble == "holds the lock":  # C code that never gives it back
            ctypes.PyDLL(None).sleep(600)
        try:
            if self.trouble == "memory":
                bytearray(1 << 60)
            raise ValueError("a wrong set-up")
        except (MemoryError, ValueError):
            return traceback.format_exc()

    def starts(self) -> list[tuple[str, int]]:
        """(trial id, process id) of every trial that was started, in order."""
        files = sorted((self.scratch / "marks").glob("*"), key=lambda f: int(f.name.split(".")[2]))
        return [(f.name.split(".")[0], int(f.name.split(".")[1])) for f in files]
