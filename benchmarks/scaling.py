"""What many trials cost the driver: time, memory, the store's size, resuming, and the report's reading.

    python -m benchmarks.scaling [--trials 1000 10000] [--workers 2] [--executors pool ray]

Trials that do nothing go through the real source, executors and an SQLite store. Each measurement has a process of its
own, so that memory is its own too. Writes benchmarks/results/scaling.json; docs/scaling.md says what follows.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._shared import ROOT, write
from benchmarks.engine import Idle, trials
from results.configurations import configurations
from results.store import Store
from sweep import local
from sweep.compute import Compute
from sweep.source import Progress, Source
from sweep.walks import ListWalk
from trials.spec import Point, Record, Trial

CURVE = 41  # points of a curve of 2,000 steps, recorded every 50
MIB = 2**20


def one(executor: str, number: int, workers: int) -> dict[str, float]:
    """Figures of one sweep of ``number`` trials."""
    ends: list[float] = []

    def watch(event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        if event == "finish":
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        store.add_sweep("idle", {})
        some = trials(number)
        compute, place = Compute(device="cpu", workers=workers), Idle(folder)
        if executor == "ray":  # Ray is loaded before memory is looked at
            from sweep import tune  # noqa: PLC0415
        before = _resident()
        source = Source(iter([[ListWalk("idle", some)]]), store, "idle", watch=watch)
        if executor == "ray":
            tune.run(source, place, compute)
        else:
            local.pool(source, place, workers)
        grown = _resident() - before
        size = _size(Path(folder))
        resumed = _seconds(lambda: Source(iter([[ListWalk("idle", some)]]), store, "idle").waiting())
        read = _seconds(lambda: len(configurations(store.records("idle"), "min_asr_within_delta")))
    if len(ends) != number:
        raise RuntimeError(f"{number - len(ends)} trials were lost")
    half = number // 2
    return {
        "trials": number,
        "ms_a_trial": 1e3 * (ends[-1] - ends[0]) / (number - 1),
        "ms_first_half": 1e3 * (ends[half - 1] - ends[0]) / (half - 1),
        "ms_second_half": 1e3 * (ends[-1] - ends[half]) / (number - half - 1),
        "driver_kib_a_trial": grown / 1024 / number,
        "driver_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "store_bytes_a_trial": size / number,
        "resume_s": resumed,
        "read_s": read,
    }


def stored(number: int) -> dict[str, float]:
    """The store's bytes for a trial with a whole curve, and for how long reading them all takes."""
    curve = tuple(Point(50 * i, 0.9 - i / 1e4, 0.5 / (i + 1), 0.1 * i) for i in range(CURVE))
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        store.add_sweep("idle", {})
        metrics = {"cda0": 0.9, "asr0": 0.5, "n_clean": 500.0, "n_triggered": 450.0}
        records = [Record(trial=t, status="done", metrics=metrics, curve=curve, seconds=60.0) for t in trials(number)]
        wrote = _seconds(lambda: store.put_many(records, "idle"))
        read = _seconds(lambda: len(store.records("idle")))
        return {
            "trials": number,
            "points": CURVE,
            "store_bytes_a_trial": _size(Path(folder)) / number,
            "written_a_second": number / wrote,
            "read_s": read,
        }


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("s.db*"))


def _apart(*words: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--one", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--executors", nargs="+", choices=["pool", "ray"], default=["pool", "ray"])
    words.add_argument("--one", nargs=3, metavar=("WHAT", "TRIALS", "WORKERS"), help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.one:
        what, number, workers = asked.one[0], int(asked.one[1]), int(asked.one[2])
        print(json.dumps(stored(number) if what == "curves" else one(what, number, workers)))
        return
    rows = []
    for executor in asked.executors:
        for number in asked.trials:
            rows.append({"executor": executor, **_apart(executor, str(number), str(asked.workers))})
            print(json.dumps(rows[-1]), flush=True)
    curves = _apart("curves", str(max(asked.trials)), "1")
    print(json.dumps(curves))
    write("scaling", {"workers": asked.workers, "rows": rows, "curves": curves})


if __name__ == "__main__":
    main()
