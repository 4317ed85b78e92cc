"""Small sweeps and their trials, run without an executor: made-up records answer each trial."""

from typing import Any

import tiny_sweep

from results.store import Store
from sweep.execution.scheduler import Scheduler
from sweep.planning import expansion
from sweep.planning.optuna_search import SearchStrategy
from sweep.planning.search_feed import SearchFeed
from sweep.planning.stages import stages, strategy_of
from sweep.planning.strategy import ListStrategy
from sweep.spec.sweep_file import Sweep
from trials.spec import Point, Record, Trial

ATTACKS = ["none", {"name": "badnets", "m": [20, 60]}, {"name": "c_badnets", "m": 20}]


def trials(number: int = 6) -> list[Trial]:
    """Trials of a tuning game, of which a made-up place runs any."""
    sweep = tiny_sweep.sweep(seeds=list(range(number)))
    config = expansion.configurations(sweep, sweep.defenses[0])[0]
    return expansion.trials_of(sweep, expansion.tasks(sweep)[0], config)


def scheduler(store: Store, some: list[Trial], attempts: int = 3) -> Scheduler:
    return Scheduler(iter([[ListStrategy("made up", some)]]), store, "tiny", attempts)


def record(trial: Trial, asr: float = 0.5, cda: float = 0.9, status: Any = "done") -> Record:
    """A record as a trial might give it: the ASR falls to ``asr`` at step 4."""
    if status == "failed":
        return Record(trial=trial, status="failed", error="Traceback\nError: on purpose")
    curve = (
        (Point(0, 0.9, 1.0), Point(2, cda, (1 + asr) / 2), Point(4, cda, asr))
        if trial.method
        else ()
    )
    sizes = (
        {"n_clean": 50, "n_triggered": 45, "copies": 1, "cda0": 0.9, "asr0": 1.0}
        if trial.method
        else {"cda": 0.9}
    )
    step = {"step": 4} if trial.game.name == "confirmation" else {}
    return Record(trial=trial, status=status, metrics={**sizes, **step}, curve=curve, seconds=1.0)


def drained(scheduler: Scheduler, answer: Any = record) -> list[Trial]:
    """Run a scheduler with made-up records; the trials that it handed out, in order."""
    ran = []
    while (trial := scheduler.next()) is not None:
        ran.append(trial)
        scheduler.finish(answer(trial))
    return ran


def whole(sweep: Sweep, store: Store, answer: Any = record) -> list[Trial]:
    return drained(Scheduler(stages(sweep, store), store, "tiny"), answer)


def searching(trials: int = 6, name: str = "weight_decay", seeds: Any = 0, **extra: Any) -> Sweep:
    asked = {"name": name, "profile": "small", "strategy": "search", "trials": trials, **extra}
    return tiny_sweep.sweep(defenses=[asked], seeds=seeds, confirm=False, judge=False)


def strategy(sweep: Sweep, store: Store) -> SearchStrategy:
    found = strategy_of(
        sweep, sweep.defenses[0], expansion.tasks(sweep)[0], SearchFeed(sweep, store)
    )
    assert isinstance(found, SearchStrategy)
    return found


def lr(trial: Trial) -> float:
    assert trial.method is not None
    return float(trial.method.params["lr"])


def by_lr(trial: Trial) -> Record:
    return (
        record(trial, asr=min(1.0, abs(lr(trial) - 0.05) * 5), cda=0.9 - lr(trial) / 5)
        if trial.method
        else record(trial)
    )


def plane(**changes: Any) -> Sweep:
    return tiny_sweep.sweep(
        **{
            "tune_on": "clean",
            "victim": {
                **tiny_sweep.VICTIM,
                "attacks": ATTACKS,
                "seeds": [0, 1, 2],
                "targets": [4, 7],
            },
            "detectors": [
                {"name": "neural_cleanse", "profile": "small"},
                {"name": "calibrated_inversion", "profile": "small", "repairs": ["weight_decay"]},
            ],
            **changes,
        }
    )
