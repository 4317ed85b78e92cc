"""What many trials cost the driver: time, memory, the store's size, resuming, and the report's
reading.

    python -m benchmarks.scaling [--trials 1000 10000] [--rounds 3] [--workers 2] [--executors pool
    ray] [--parts lists]
        [--searches tpe:1:200]

Trials that do nothing go through the real scheduler, executors and an SQLite store. Each
measurement has a process of its own, so that memory is its own too. A machine may be faster at one
minute than at the next, so sweeps of the two sizes take turns, and a large one is compared with the
small ones just before and after it. Searches run without an executor: what is measured is what the
scheduler costs. Writes benchmarks/results/scaling.json; docs/scaling.md says what follows.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._shared import OUTPUT, ROOT, ending, parsed, write
from benchmarks.engine import Idle, trials
from results.selection.configurations import configurations
from results.store import Store
from sweep.execution import process_pool
from sweep.execution.scheduler import Scheduler
from sweep.planning.stages import tuned_strategies
from sweep.planning.strategy import ListStrategy
from sweep.spec import sweep_file
from sweep.spec.compute import Compute
from trials.spec import Point, Record

CURVE = 41  # points of a curve of 2,000 steps, recorded every 50
# sampler, searches at a time, configurations of each
SEARCHES = (
    "random:1:200",
    "random:1:1000",
    "random:1:5000",
    "tpe:1:200",
    "tpe:1:1000",
    "random:100:10",
    "random:1000:10",
)
MIB = 2**20
WARM = 100  # ends before the clock starts, as workers start one after the other


def one(executor: str, number: int, workers: int) -> dict[str, float]:
    """Figures of one sweep of ``number`` trials."""
    ends, spent = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        store.add_sweep("idle", {})
        some = trials(number)
        compute, worker_config = Compute(device="cpu", workers=workers), Idle(folder)
        if executor == "ray":  # Ray is loaded before memory is looked at
            from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415
        before = _resident()
        scheduler = Scheduler(
            iter([[ListStrategy("idle", some)]]), store, "idle", reporter=ending(ends, spent)
        )
        if executor == "ray":
            RayTune(worker_config, compute).run(scheduler)
        else:
            process_pool.ProcessPool(worker_config, workers).run(scheduler)
        grown = _resident() - before
        size = _size(Path(folder))
        resumed = _seconds(
            lambda: Scheduler(iter([[ListStrategy("idle", some)]]), store, "idle").waiting()
        )
        read = _seconds(lambda: len(configurations(store.records("idle"), "min_asr_within_delta")))
    if len(ends) != number:
        raise RuntimeError(f"{number - len(ends)} trials were lost")
    half, warm = number // 2, min(WARM, number // 10)
    return {
        "trials": number,
        "ms_a_trial": 1e3 * (ends[-1] - ends[warm]) / (number - warm - 1),
        "ms_first_half": 1e3 * (ends[half] - ends[warm]) / (half - warm),
        "ms_second_half": 1e3 * (ends[-1] - ends[half]) / (number - half - 1),
        "driver_cpu_ms_a_trial": 1e3 * (spent[-1] - spent[warm]) / (number - warm - 1),
        "driver_grown_kib": grown / 1024,
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
        records = [
            Record(trial=t, status="done", metrics=metrics, curve=curve, seconds=60.0)
            for t in trials(number)
        ]
        wrote = _seconds(lambda: store.put_many(records, "idle"))
        read = _seconds(lambda: len(store.records("idle")))
        return {
            "trials": number,
            "points": CURVE,
            "store_bytes_a_trial": _size(Path(folder)) / number,
            "written_a_second": number / wrote,
            "read_s": read,
        }


def search(sampler: str, strategies: int, each: int) -> dict[str, Any]:
    """Figures of ``strategies`` searches, one for each tuning task, of ``each`` configurations; the
    time that Optuna takes is given apart.
    """
    from optuna import Study, Trial  # noqa: PLC0415

    from sweep.planning.optuna_search import SearchStrategy  # noqa: PLC0415

    asked = {"name": "weight_decay", "strategy": "search", "trials": each, "sampler": sampler}
    victim: dict[str, Any] = {
        "dataset": "digits",
        "model": "resnet18",
        "training": "fast",
        "attacks": ["badnets"],
    }
    victim["seeds"] = list(range(strategies))  # each is a tuning task, and so has a search
    sweep = sweep_file.parse({"victim": victim, "defenses": [asked]}, "idle")
    put = _clocked(Store, "put")
    optuna = [_clocked(Study, name) for name in ("ask", "tell")]
    optuna += [_clocked(Trial, f"suggest_{kind}") for kind in ("float", "int", "categorical")]
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        store.add_sweep("idle", {})
        scheduler = Scheduler(
            iter([tuned_strategies(sweep, store)]), store, "idle", reporter=ending(ends)
        )
        began, trial = time.perf_counter(), scheduler.next()
        while trial is not None:
            lr = float(trial.method.params["lr"]) if trial.method else 0.0
            curve = tuple(Point(50 * i, 0.9, abs(lr - 0.01), 0.1) for i in range(3))
            scheduler.finish(
                Record(trial=trial, status="done", metrics={"cda0": 0.9}, curve=curve, seconds=0.1)
            )
            trial = scheduler.next(trial)
        number = len(ends)
        again: list[Any] = []
        resumed = _seconds(lambda: again.extend(tuned_strategies(sweep, store)))
    if number != strategies * each or not all(
        isinstance(w, SearchStrategy) and w.done for w in again
    ):
        raise RuntimeError(f"{strategies * each - number} trials were lost")
    half = number // 2
    return {
        "sampler": sampler,
        "strategies": strategies,
        "trials": number,
        "ms_a_trial": 1e3 * (ends[-1] - began) / number,
        "ms_first_half": 1e3 * (ends[half - 1] - began) / half,
        "ms_second_half": 1e3 * (ends[-1] - ends[half - 1]) / (number - half),
        "ms_optuna": 1e3 * sum(map(sum, optuna)) / number,
        "ms_store_put": 1e3 * sum(put) / number,
        "resume_s": resumed,
    }


def _clocked(of: type, name: str) -> list[float]:
    """From now on, the seconds of each call of a method."""
    real, spent = getattr(of, name), list[float]()

    def clocked(*words: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return real(*words, **named)
        finally:
            spent.append(time.perf_counter() - began)

    setattr(of, name, clocked)
    return spent


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


def in_turn(executor: str, small: int, large: int, rounds: int, workers: int) -> dict[str, Any]:
    """Sweeps of two sizes in turn, a small one last: medians of each, how much more a trial of a
    large one takes.
    """
    runs: list[dict[str, Any]] = []
    for number in [small, large] * rounds + [small]:
        runs.append(_apart(executor, str(number), str(workers)))
        print(json.dumps({"executor": executor, **runs[-1]}), flush=True)
    figures: dict[str, Any] = {
        "executor": executor,
        "workers": workers,
        "runs": runs,
        "median": [],
        "range_ms": [],
    }
    for number in (small, large):
        some = [run for run in runs if run["trials"] == number]
        medians = {}
        for name in some[0]:
            medians[name] = statistics.median([run[name] for run in some])
        figures["median"].append(medians)
        times = [run["ms_a_trial"] for run in some]
        figures["range_ms"].append([min(times), max(times)])
    for name in ("ms_a_trial", "driver_cpu_ms_a_trial"):
        of = [run[name] for run in runs]
        figures[f"growth_{name}"] = [
            2 * of[i] / (of[i - 1] + of[i + 1]) - 1 for i in range(1, len(of), 2)
        ]
    grown = [median["driver_grown_kib"] for median in figures["median"]]
    figures["driver_kib_a_trial"] = (grown[1] - grown[0]) / (large - small)
    return figures


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--trials", type=int, nargs=2, metavar=("SMALL", "LARGE"), default=[1000, 10_000]
    )
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--executors", nargs="+", choices=["pool", "ray"], default=["pool", "ray"])
    words.add_argument(
        "--parts", nargs="+", choices=["lists", "searches"], default=["lists", "searches"]
    )
    words.add_argument(
        "--one", nargs=3, metavar=("WHAT", "TRIALS", "WORKERS"), help=argparse.SUPPRESS
    )
    words.add_argument("--searches", nargs="+", default=SEARCHES, metavar="SAMPLER:TASKS:TRIALS")
    asked = parsed(words, trials=[10, 20], rounds=1, executors=["pool"], searches=["tpe:1:12"])
    if asked.rounds < 1 or asked.trials[0] >= asked.trials[1]:
        words.error("--rounds is at least 1, and SMALL less than LARGE")
    if asked.one and ":" in asked.one[0]:
        sampler, strategies, each = asked.one[0].split(":")
        print(json.dumps(search(sampler, int(strategies), int(each))))
        return
    if asked.one:
        what, number, workers = asked.one[0], int(asked.one[1]), int(asked.one[2])
        print(json.dumps(stored(number) if what == "curves" else one(what, number, workers)))
        return
    file = OUTPUT / "scaling.json"
    figures = (
        json.loads(file.read_text(encoding="utf-8")) if file.exists() and not asked.tiny else {}
    )
    if "lists" in asked.parts:
        figures["curves"] = _apart("curves", str(max(asked.trials)), "1")
        lists = {of["executor"]: of for of in figures.get("lists", [])}
        for executor in asked.executors:
            lists[executor] = in_turn(
                executor, asked.trials[0], asked.trials[1], asked.rounds, asked.workers
            )
            figures["lists"] = list(lists.values())
            write("scaling", figures, tiny=asked.tiny)  # Ray's runs may not cost those before
    if "searches" in asked.parts:
        figures["searches"] = []
        for words_of in asked.searches:
            figures["searches"].append(_apart(words_of, "0", "1"))
            print(json.dumps(figures["searches"][-1]), flush=True)
    write("scaling", figures, tiny=asked.tiny)


if __name__ == "__main__":
    main()
