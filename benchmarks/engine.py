"""What the engine costs a trial that does nothing, beside stock Ray Tune with OptunaSearch in the
same run.

    python -m benchmarks.engine [--trials 100 1000] [--workers 2] [--stock 40]

Ours: scheduler, SQLite store (one durable transaction a record) and each executor, warm workers,
three points a trial. Stock: Tuner with OptunaSearch (random sampler, in memory) and Tune's
defaults, as a function (a process a trial) and as a class with reused actors. Clocks run from the
first end of a trial to the last, so starting workers counts for nobody. Writes
benchmarks/results/engine.json.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from benchmarks._shared import ending, parsed, write
from results.store import Store
from sweep.execution import process_pool
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.planning.strategy import ListStrategy
from sweep.spec.compute import Compute
from trials.spec import MethodConfig, Point, Record, Trial, Victim

POINTS = 3
Figures = dict[str, float]


@dataclass(frozen=True)
class Idle(WorkerConfig):
    """Trials that do nothing."""

    def perform(self, trial: Trial) -> Generator[Point, None, Record]:
        curve = tuple(Point(50 * i, 0.9, 0.5, 0.1) for i in range(POINTS))
        yield from curve
        return Record(
            trial=trial, status="done", metrics={"cda0": 0.9, "asr0": 0.5}, curve=curve, seconds=0.1
        )


def trials(number: int) -> list[Trial]:
    victim = Victim(
        dataset=MethodConfig("digits"),
        model=MethodConfig("resnet18"),
        attacks=(),
        training=MethodConfig("fast"),
        seed=0,
    )
    game, method = (
        MethodConfig("tuning", {"delta": 0.02}),
        MethodConfig("weight_decay", {"lr": 0.01}),
    )
    return [
        Trial(game=game, victim=victim, method=method, trusted=0.01, seed=i) for i in range(number)
    ]


def ours(executor: Callable[[Scheduler, WorkerConfig], None], number: int) -> Figures:
    """Milliseconds a trial from the first end to the last, seconds until the first, and
    milliseconds a stored point.
    """
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        store.add_sweep("idle", {})
        some = trials(number)
        began = time.perf_counter()
        executor(
            Scheduler(iter([[ListStrategy("idle", some)]]), store, "idle", reporter=ending(ends)),
            Idle(folder),
        )
        over = time.perf_counter()
        again = Scheduler(iter([[ListStrategy("idle", some)]]), store, "idle")
        if again.next() is not None or len(ends) != number:
            raise RuntimeError("a trial was lost")
        stored = time.perf_counter() - over
    return {
        **_between(ends),
        "first_s": ends[0] - began,
        "all_s": over - began,
        "stored_ms": 1e3 * stored / number,
    }


def _between(ends: list[float]) -> Figures:
    ends = sorted(ends)
    return {"ms": 1e3 * (ends[-1] - ends[0]) / (len(ends) - 1)}


def stock(kind: str, number: int, workers: int) -> Figures:
    """Ray Tune with its own OptunaSearch and defaults.

    Imported here, as our executor sets Ray's switches.
    """
    import optuna  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415
    from ray.tune.search.optuna import OptunaSearch  # noqa: PLC0415

    ends: list[float] = []
    began = time.perf_counter()
    search = OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=0), metric="asr", mode="min")
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(_trainable(kind), {"cpu": 1}),
            param_space={"lr": tune.loguniform(1e-4, 1e-1)},
            tune_config=tune.TuneConfig(
                search_alg=search,
                num_samples=number,
                reuse_actors=kind == "class",
                max_concurrent_trials=workers,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[_clock(ends)]),
        ).fit()
    return {
        **_between(ends),
        "first_s": ends[0] - began,
        "all_s": time.perf_counter() - began,
    }


def _trainable(kind: str) -> Any:
    """A trial that does nothing, as Tune's class or its function."""
    from ray import tune  # noqa: PLC0415

    class Runner(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.left = POINTS

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.left = POINTS
            return True

        def step(self) -> dict[str, Any]:
            self.left -= 1
            return {"asr": 0.5, "done": self.left == 0}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    def function(config: dict[str, Any]) -> None:
        for _ in range(POINTS):
            tune.report({"asr": 0.5})

    return Runner if kind == "class" else function


def _clock(ends: list[float]) -> Any:
    """A callback of Tune that adds the time at which each trial ended."""
    from ray import tune  # noqa: PLC0415

    class Clock(tune.Callback):
        def on_trial_complete(
            self, iteration: int, trials: list[Any], trial: Any, **info: Any
        ) -> None:
            ends.append(time.perf_counter())

    return Clock()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--stock", type=int, default=40, help="trials of the function API; 0 leaves stock Tune out"
    )
    asked = parsed(parser, trials=[6], stock=2)
    rows: list[dict[str, Any]] = []
    versions = {name: version(name) for name in ("ray", "optuna", "sqlalchemy")}

    def add(what: str, number: int, figures: Figures) -> None:
        rows.append({"what": what, "trials": number, "load": os.getloadavg()[0], **figures})
        write("engine", {**versions, "workers": asked.workers, "rows": rows}, tiny=asked.tiny)
        stored = f"{figures['stored_ms']:9.2f}" if "stored_ms" in figures else " " * 9
        print(
            f"{what:44}{number:7}{figures['ms']:10.2f}{figures['first_s']:9.2f}{stored}", flush=True
        )

    print(f"{'what':44}{'trials':>7}{'ms/trial':>10}{'first s':>9}{'stored ms':>10}")
    for number in asked.trials:
        inline = ours(lambda s, p: process_pool.Inline(p).run(s), number)
        add("ours, in one process", number, inline)
        add(
            "ours, pool",
            number,
            ours(lambda s, p: process_pool.ProcessPool(p, asked.workers).run(s), number),
        )
    import ray  # noqa: PLC0415

    if asked.stock:
        ray.init(
            address="local",
            num_cpus=asked.workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        add(
            "Ray Tune, OptunaSearch, function",
            asked.stock,
            stock("function", asked.stock, asked.workers),
        )
        for number in asked.trials:
            add(
                "Ray Tune, OptunaSearch, class, reuse_actors",
                number,
                stock("class", number, asked.workers),
            )
        ray.shutdown()
    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415  (sets Ray's switches, which stock Tune must not see)

    compute = Compute(device="cpu", workers=asked.workers)
    for number in asked.trials:
        add("ours, Ray Tune", number, ours(lambda s, p: RayTune(p, compute).run(s), number))


if __name__ == "__main__":
    main()
