"""A search of a recipe's settings trains every victim by each, learns success and accuracy, and
draws the same however it is stopped.
"""

from pathlib import Path

import pytest
import tiny_sweep
from optuna.trial import TrialState
from searched import BREW, GRID, SEARCH, VICTIM, answer, ran, search, store_at, sweep, told

from results.comparison.targeted_success import alike, on_front, targeted_success
from results.figures import targeted as figure
from results.store import Store
from sweep.commands.plan import cost_estimate
from sweep.execution import preflight, runner
from sweep.planning.searches import searches
from trials.spec import SpecError


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
    weak, strong = searches(of)
    assert weak.table == strong.table == of.recipes[0]
    assert len(weak.victims) == len(strong.victims) == 2
    assert {v.attacks[0].params["budget"] for v in weak.victims} == {0.04}
    models = {**budgets, "model": [VICTIM["model"], {"name": "small_cnn", "width": 4}, "resnet18"]}
    for several, number in ((budgets, 2), (models, 6)):
        labels = [
            x.what for x in cost_estimate(sweep(victim=several), None) if "searched" in x.what
        ]
        assert len(set(labels)) == number == len(labels)
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
