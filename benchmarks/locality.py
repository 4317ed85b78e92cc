"""Loads of victims and copies per trial, with trials handed out near what a worker has, and in
turns.

    python -m benchmarks.locality [--victims 6] [--seeds 2] [--workers 2] [--limit 4] [--executors
    pool ray]

One tiny sweep over several victims, each run twice from nothing: as the engine hands trials out,
and with a scheduler that is told nothing of the workers, so that all strategies take turns. Only
trials that run a defense or a detector are counted; making a victim or a copy loads what it must in
either case. Writes benchmarks/results/locality.json.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._shared import parsed, write
from results.store import Store
from sweep.execution import process_pool, worker
from sweep.execution.runner import MAKES_ARTIFACTS
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.planning.stages import stages
from sweep.spec import sweep_file
from sweep.spec.compute import Compute
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial
from trials.trial_run import Reports

VICTIM: dict[str, Any] = {
    "dataset": "digits",
    "model": {"name": "resnet18", "width": 4},
    "training": {"name": "fast", "epochs": 4, "batch": 64, "peak": 0.2},
    "attacks": [{"name": "badnets", "m": 60}],
}


@dataclass(frozen=True)
class Counting(WorkerConfig):
    """Trials that leave a file with what they made their worker load."""

    def perform(self, trial: Trial) -> Reports[Record]:
        runtime = worker._runtime(self)
        caches = (runtime._victim, runtime._copy)
        before = [cache.cache_info().misses for cache in caches]
        record = yield from super().perform(trial)
        loaded = [cache.cache_info().misses - b for cache, b in zip(caches, before, strict=True)]
        folder = Path(self.artifacts) / "loads"
        folder.mkdir(exist_ok=True)
        (folder / f"{trial.game.name}.{trial.id}").write_text(" ".join(map(str, loaded)))
        return record


class InTurns(Scheduler):
    """A scheduler that does not look at what workers have loaded."""

    def next(self, near: Trial | None = None) -> Trial | None:
        trial = super().next()
        self._at.clear()
        return trial


def sweep_of(victims: int, seeds: int, limit: int) -> Sweep:
    held = {"profile": "small", "limit": limit, "fixed": {"steps": 6, "batch": 16}}
    data = {
        "trusted": 0.2,
        "seeds": list(range(seeds)),
        "victim": {**VICTIM, "seeds": list(range(victims))},
        "tuning": {"copies": 2, "record_every": 6},
        "self_poisoning": {
            "scheme": "labels",
            "steps": 60,
            "batch": 32,
            "lr": 0.1,
            "share": 0.5,
            "reach": 0.3,
            "check_every": 20,
        },
        "defenses": [{"name": name, **held} for name in ("weight_decay", "fine_tuning")],
        "compute": {"device": "cpu"},
    }
    return sweep_file.parse(data, "locality")


def measure(sweep: Sweep, kind: type[Scheduler], workers: int, ray: bool) -> dict[str, float]:
    """Loads a trial, and the sweep's seconds."""
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        store.add_sweep(sweep.name, {})
        scheduler, worker_config = kind(stages(sweep, store), store, sweep.name), Counting(folder)
        began = time.perf_counter()
        if ray:
            from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415  (loads Ray)

            RayTune(worker_config, Compute(device="cpu", workers=workers)).run(scheduler)
        else:
            process_pool.ProcessPool(worker_config, workers).run(scheduler)
        seconds = time.perf_counter() - began
        if scheduler.progress.failed:
            raise RuntimeError("a trial failed")
        files = [
            f
            for f in Path(folder, "loads").glob("*")
            if f.name.split(".")[0] not in MAKES_ARTIFACTS
        ]
        counted = [f.read_text().split() for f in files]
    number = len(counted)
    victims = sum(int(words[0]) for words in counted)
    copies = sum(int(words[1]) for words in counted)
    return {
        "trials": number,
        "victims_a_trial": victims / number,
        "copies_a_trial": copies / number,
        "sweep_s": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--victims", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--executors", nargs="+", choices=["pool", "ray"], default=["pool", "ray"])
    parser.add_argument("--limit", type=int, default=4, help="settings of each defense")
    asked = parsed(parser, victims=1, seeds=1, limit=1, executors=["pool"])
    sweep, rows = sweep_of(asked.victims, asked.seeds, asked.limit), {}
    for executor in asked.executors:
        for kind, what in ((InTurns, "in turns"), (Scheduler, "near")):
            name = f"{'Ray' if executor == 'ray' else 'pool'}, {what}"
            rows[name] = row = measure(sweep, kind, asked.workers, executor == "ray")
            print(name.ljust(18), {k: round(v, 3) for k, v in row.items()}, flush=True)
    figures = {
        "victims": asked.victims,
        "seeds": asked.seeds,
        "workers": asked.workers,
        "loads": rows,
    }
    write("locality", figures, tiny=asked.tiny)


if __name__ == "__main__":
    main()
