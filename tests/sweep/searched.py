"""Sweeps of attacks without a trigger whose recipes and filters are searched, and a scheduler that
runs them with made-up answers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_sweep

from results.store import Store
from sweep.execution.scheduler import Scheduler
from sweep.planning.stages import stages, targeted_searches
from sweep.planning.targeted_search import TargetedSearch
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial, content_id

BREW: dict[str, Any] = {
    "name": "witches_brew",
    "key": [0, 1],
    "budget": 0.08,
    "epsilon": 32,
    "restarts": 1,
    "iterations": 4,
}
EPOCHS = {"epochs": 2}
VICTIM: dict[str, Any] = {
    "dataset": {"name": "digits", "size": 8},
    "model": {"name": "small_cnn", "width": 8},
    "training": {"name": "fast", "batch": 64, "peak": 0.2, **EPOCHS},
    "attacks": [BREW],
}
SEARCH: dict[str, Any] = {
    "name": "gradient_shaping",
    "profile": "small",
    "strategy": "search",
    "trials": 4,
    "fixed": EPOCHS,
}
GRID: dict[str, Any] = {
    "name": "strong_augmentation",
    "profile": "small",
    "limit": 3,
    "fixed": EPOCHS,
}
OWN: dict[str, Any] = {"pairs": 3, "budget": 0.03, "epsilon": 32, "iterations": 2}
RESERVED: dict[str, Any] = {**VICTIM, "reserve": 0.3}
KNN: dict[str, Any] = {
    "name": "deep_knn",
    "profile": "small",
    "strategy": "search",
    "trials": 4,
    "reject": [0.1, 0.02, 0.3],
    "recipes": ["fast"],
}


def sweep(*recipes: dict[str, Any], victim: dict[str, Any] = VICTIM, **changes: Any) -> Sweep:
    rest: dict[str, Any] = {"game": "targeted", "defenses": [], "tuning": {}, "self_poisoning": {}}
    rest["compute"] = {"device": "cpu", "workers": 1}
    given = list(recipes or (SEARCH,))
    return tiny_sweep.sweep(**{"recipes": given, "victim": victim, **rest, **changes})


def own(
    *recipes: dict[str, Any], filters: tuple[dict[str, Any], ...] = (), **changes: Any
) -> Sweep:
    """A sweep whose defenders brew against themselves."""
    given: dict[str, Any] = {"self_poisoning": OWN, "trusted": 0.3, "victim": RESERVED}
    given |= {"filters": list(filters)}
    victim = {**given, **changes}["victim"]
    if recipes:
        return sweep(*recipes, **{**given, **changes, "victim": victim})
    return tiny_sweep.sweep(
        **{"game": "targeted", "defenses": [], "tuning": {}, "recipes": [], **given, **changes}
    )


def search(of: Sweep) -> TargetedSearch:
    (found,) = targeted_searches(of)
    assert isinstance(found, TargetedSearch)
    return found


def draw(record_id: str) -> float:
    return int(record_id[:8], 16) / 16**8


def answer(trial: Trial) -> Record:
    """What a trial gives, by its settings alone: strong noise keeps the attack out and costs."""
    noise = float(trial.victim.training.params.get("noise", 0.0))
    own = content_id(trial.victim.training.identity())
    if trial.game.name == "training" and trial.victim.attacks and draw(own) < 0.2:
        return Record(trial=trial, status="failed", error="Traceback\nError: on purpose")
    wanted = max(0.0, 0.9 - 60 * noise - draw(trial.id) / 50)
    metrics = {"wanted": wanted, "success": float(wanted > 0.5), "cda": 0.98 - 9 * noise}
    controls = {f"{name}_control": value for name, value in metrics.items()}
    return Record(trial=trial, status="done", metrics={**metrics, **controls}, seconds=1.0)


def ran(
    of: Sweep,
    store: Store,
    workers: int = 1,
    most: int = 10**6,
    answer: Callable[[Trial], Record] = answer,
) -> list[Trial]:
    """The trials that a scheduler hands out to so many workers, the last of which answers first."""
    scheduler = Scheduler(stages(of, store), store, of.name)
    found, busy = list[Trial](), list[Trial]()
    while len(found) < most:
        while len(busy) < workers and (trial := scheduler.next()) is not None:
            busy.append(trial)
            found.append(trial)
        if not busy:
            break
        scheduler.finish(answer(busy.pop()))
    for trial in busy:  # stopped: what runs is finished
        scheduler.finish(answer(trial))
    return found


def told(of: Sweep, store: Store) -> list[Any]:
    """What the study has when the store answers all that is asked."""
    asking = search(of)
    while trial := asking.ask():
        record = store.get(trial.id)
        asking.tell(record or Record(trial=trial, status="failed", error="blocked"))
    assert asking.done
    return [(t.state, t.params, t.values) for t in asking.study.trials]


def store_at(folder: Path) -> Store:
    store = Store.open(f"sqlite:///{folder}/s.db")
    store.add_sweep("tiny", {})
    return store
