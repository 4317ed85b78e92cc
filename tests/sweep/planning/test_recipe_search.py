"""A search of a recipe's settings trains every victim by each, learns success and accuracy, and
draws the same however it is stopped.
"""

from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
from optuna.trial import TrialState

from results.comparison.targeted_success import alike, on_front, targeted_success
from results.figures import targeted as figure
from results.store import Store
from sweep.commands.plan import cost_estimate
from sweep.execution import preflight, runner
from sweep.execution.scheduler import Scheduler
from sweep.planning import targeted
from sweep.planning.recipe_search import RecipeSearch
from sweep.planning.stages import recipe_search, stages
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, SpecError, Trial, content_id

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


def sweep(*recipes: dict[str, Any], victim: dict[str, Any] = VICTIM, **changes: Any) -> Sweep:
    rest: dict[str, Any] = {"game": "targeted", "defenses": [], "tuning": {}, "self_poisoning": {}}
    rest["compute"] = {"device": "cpu", "workers": 1}
    given = list(recipes or (SEARCH,))
    return tiny_sweep.sweep(**{"recipes": given, "victim": victim, **rest, **changes})


def search(of: Sweep, group: int = 0) -> RecipeSearch:
    found = recipe_search(of, *targeted.searched(of)[group])
    assert isinstance(found, RecipeSearch)
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


def ran(of: Sweep, store: Store, workers: int = 1, most: int = 10**6) -> list[Trial]:
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


def test_one_configuration_is_all_keys_and_seeds_and_the_recipes_defaults_come_first() -> None:
    of = sweep(victim={**VICTIM, "seeds": [0, 1]})
    asking = search(of)
    assert asking.size == 4 * (2 * 2 + 2 + 2 * 2)  # victims, controls, measurements
    first = []
    while (trial := asking.ask()) is not None:
        first.append(trial)
    assert {t.game.name for t in first} == {"training"} and len(first) == 6
    (default,) = of.recipes[0].points()
    assert {str(t.victim.training) for t in first} == {str(default)}
    for trial in first:
        asking.tell(answer(trial))
    (measured, *_) = (asking.ask(), asking.ask(), asking.ask(), asking.ask())
    assert measured is not None and measured.game.name == "targeted" and asking.ask() is None


def test_the_objectives_are_the_means_over_victims_and_failures_stay_failures(
    tmp_path: Path,
) -> None:
    of = sweep({**SEARCH, "trials": 12})
    with store_at(tmp_path) as store:
        ran(of, store)
        found = told(of, store)
        records = store.records(of.name, "targeted")
    states = [state for state, _, _ in found]
    assert TrialState.FAIL in states and states.count(TrialState.COMPLETE) > 5
    for state, params, values in found:
        mine = [
            r.metrics
            for r in records
            if r.trial.victim.training.params.get("noise") == params["noise"]
        ]
        if state is TrialState.COMPLETE:
            assert len(mine) == 2
            assert values[0] == pytest.approx(sum(m["wanted"] for m in mine) / 2)
            assert values[1] == pytest.approx(mine[0]["cda"])
    assert all(r.status == "done" for r in records)  # nothing is measured of what failed


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_search_that_is_stopped_anywhere_draws_the_same_with_any_number_of_workers(
    sampler: str, tmp_path: Path
) -> None:
    of = sweep({**SEARCH, "trials": 12, "sampler": sampler})
    (tmp_path / "whole").mkdir()
    with store_at(tmp_path / "whole") as store:
        whole = ran(of, store)
        study = told(of, store)
    for stop, workers in ((9, 3), (33, 1)):
        (tmp_path / f"{stop}-{workers}").mkdir()
        with store_at(tmp_path / f"{stop}-{workers}") as store:
            first = ran(of, store, workers, stop)
            rest = ran(of, store, workers)
            assert told(of, store) == study
        assert {t.id for t in [*first, *rest]} == {t.id for t in whole}


def test_a_longer_search_begins_as_the_shorter_one(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        ran(sweep({**SEARCH, "trials": 4}), store)
        short = told(sweep({**SEARCH, "trials": 4}), store)
        further = ran(sweep({**SEARCH, "trials": 6}), store)
        assert told(sweep({**SEARCH, "trials": 6}), store)[:4] == short
    assert 0 < len(further) <= 2 * 5


def test_attacks_that_differ_are_searched_apart() -> None:
    budgets = {**VICTIM, "attacks": [{**BREW, "budget": [0.04, 0.08]}]}
    of = sweep(SEARCH, GRID, victim=budgets)
    (one, weak), (two, strong) = targeted.searched(of)
    assert one == two == of.recipes[0] and len(weak) == len(strong) == 2
    assert {v.attacks[0].params["budget"] for v in weak} == {0.04}
    models = {**budgets, "model": [VICTIM["model"], {"name": "small_cnn", "width": 4}, "resnet18"]}
    for several, told in ((budgets, 2), (models, 6)):
        labels = [
            x.what for x in cost_estimate(sweep(victim=several), None) if "searched" in x.what
        ]
        assert len(set(labels)) == told == len(labels)
    assert "gradient_shaping, searched, small_cnn, width = 4, budget = 0.04" in labels


def test_a_setting_that_a_search_may_ask_for_in_vain_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    noise = {**SEARCH, "name": "friendly_noise"}  # begins at 3, or at 6
    preflight.check(sweep({**noise, "fixed": {"epochs": 7}}), config)
    with pytest.raises(SpecError, match="friendly_noise: begin = 6 comes after all 4 epochs"):
        preflight.check(sweep({**noise, "fixed": {"epochs": 4}}), config)


def test_what_a_plan_counts_is_what_runs(tmp_path: Path) -> None:
    of = sweep({**SEARCH, "trials": 5}, GRID)
    with store_at(tmp_path) as store:
        before = {x.what: x for x in cost_estimate(of, store)}
        assert before["gradient_shaping, searched"].trials == 4 * 5
        assert before["gradient_shaping, searched"].done == 0
        ran(of, store)
        after = {x.what: x for x in cost_estimate(of, store)}
    assert after["gradient_shaping, searched"].done == 4 * 5
    assert after["gradient_shaping, searched"].seconds_each is not None


@pytest.mark.slow
def test_real_victims_are_trained_by_grids_and_searches_and_stand_on_one_front(
    tmp_path: Path,
) -> None:
    of = sweep({**SEARCH, "sampler": "nsga2"}, GRID)
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        runner.execute(of, store, config, use_ray=False)
        records = store.records(of.name)
        found = told(of, store)
        again = runner.execute(of, store, config, use_ray=False)
    assert {r.status for r in records} == {"done"} and again.done == 0
    assert len({params["noise"] for _, params, _ in found}) == 4
    (group,) = alike(targeted_success(records))
    names = [t.victim.training.name for t in group]
    counts = {"fast": 1, "gradient_shaping": 4, "strong_augmentation": 3}
    assert {name: names.count(name) for name in names} == counts
    assert on_front(group) and len(figure.figure(records).data) == 1 + 8
