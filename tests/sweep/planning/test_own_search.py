"""Defenders who brew against themselves search recipes and filters by their own poison: what the
attacker's does, they never see.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
from optuna.trial import TrialState
from searched import KNN, OWN, RESERVED, SEARCH, draw, own, ran, search, store_at, told

from results.comparison.self_brewed import self_brewed
from results.store import Store
from sweep.commands.plan import cost_estimate
from sweep.execution import preflight, runner
from sweep.planning import filtering, targeted
from sweep.planning.searches import labels, searches
from sweep.planning.stages import targeted_searches
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, SpecError, Trial, Victim, content_id


def removed(victim: Victim) -> float:
    return float(victim.filter.reject) if victim.filter else 0.0


def answer(trial: Trial, told_of_attacker: float = 0.0) -> Record:
    """Own poison is kept out by noise and by what is removed; the attacker's does as it likes. No
    two metrics of a trial are alike, nor one of two keys.
    """
    kept_out = 60 * float(trial.victim.training.params.get("noise", 0.0)) + removed(trial.victim)
    wanted = max(0.0, 0.9 - kept_out - draw(trial.id) / 50)
    success = round(3 * wanted) / 3
    metrics = {"wanted": wanted, "success": success, "cda": 0.98 - kept_out / 4}
    metrics |= {"wanted_control": wanted / 7, "success_control": 1 - success}
    metrics |= {"cda_control": 0.9 - kept_out / 3 - draw(trial.id) / 20, "n_targeted": 3.0}
    if trial.game.name == "targeted":
        metrics = dict.fromkeys(metrics, (told_of_attacker + draw(trial.id)) % 1)
    return Record(trial=trial, status="done", metrics=metrics, seconds=1.0)


@pytest.mark.parametrize(
    "of", [own({**SEARCH, "trials": 6}), own(filters=({**KNN, "trials": 6},))], ids=["epic", "knn"]
)
def test_what_the_attackers_poison_does_changes_nothing_that_is_asked(
    of: Sweep, tmp_path: Path
) -> None:
    found = []
    for luck in (0.0, 0.5):
        (folder := tmp_path / str(luck)).mkdir()
        with store_at(folder) as store:
            ran(of, store, answer=partial(answer, told_of_attacker=luck))
            found.append(told(of, store))
            judged = [r.metrics["success"] for r in store.records(of.name, "targeted")]
        found.append(judged)
    one, its, two, others = found
    assert one == two and its != others and len(one) == 6


def test_the_objectives_are_success_of_own_pairs_and_accuracy_on_images_held_back(
    tmp_path: Path,
) -> None:
    of = own({**SEARCH, "trials": 5})
    with store_at(tmp_path) as store:
        ran(of, store, answer=answer)
        found = told(of, store)
        records = store.records(of.name, "self_brew")
    for _, params, (misled, accuracy) in found:
        mine = [
            r for r in records if r.trial.victim.training.params.get("noise") == params["noise"]
        ]
        assert len(mine) == 2  # a defender a key
        success, wanted, held_back = (
            sum(r.metrics[name] for r in mine) / 2 for name in ("success", "wanted", "cda_control")
        )
        assert misled == pytest.approx(success + wanted / 6)  # less than one pair of six
        assert accuracy == pytest.approx(held_back)
        assert len({r.metrics["cda_control"] for r in mine}) == 2


def failing(trial: Trial, of: str) -> Record:
    """As ``answer``, but half of what measures the attacker's poison fails, or of the controls, or
    of what defenders brew, or of the victims that they look at.
    """
    kinds = {"training": "victims" if trial.victim.attacks else "controls"}
    kind = kinds.get(trial.game.name, trial.game.name)
    own_setting = content_id(trial.victim.training.identity())
    if "noise" in trial.victim.training.params and kind == of and draw(own_setting) < 0.5:
        return Record(trial=trial, status="failed", error="Traceback\nError: on purpose")
    return answer(trial)


@pytest.mark.parametrize(
    ("of_what", "is_told"),
    [("targeted", False), ("controls", False), ("self_brew", True), ("victims", True)],
)
def test_defenders_are_told_of_no_failure_but_of_what_they_see(
    of_what: str, is_told: bool, tmp_path: Path
) -> None:
    of = own({**SEARCH, "trials": 6})
    found = []
    for name, given in (("whole", answer), ("failing", partial(failing, of=of_what))):
        (folder := tmp_path / name).mkdir()
        with store_at(folder) as store:
            ran(of, store, answer=given)
            found.append(told(of, store))
            failed = [r for r in store.records(of.name) if r.status == "failed"]
    assert failed
    assert (found[0] != found[1]) == is_told
    assert (TrialState.FAIL in {state for state, _, _ in found[1]}) == is_told


def test_a_configuration_of_a_filter_is_its_scores_its_victims_and_what_measures_them() -> None:
    of = own(filters=(KNN,), seeds=[0, 1])
    asking = search(of)
    assert asking.size == 4 * (4 + 4 + 4 + 4)  # scores, trainings, own pairs, the attacker's
    stages, default = list[list[Trial]](), filtering.points(of.filters[0])
    while trial := asking.ask():
        stages.append([trial])
        while following := asking.ask():
            stages[-1].append(following)
        if len(stages) > 3:
            break
        for one in stages[-1]:
            asking.tell(answer(one))
    games = [{t.game.name for t in stage} for stage in stages[:3]]
    assert games == [{"filtering"}, {"training"}, {"self_brew", "targeted"}]
    first = [t.victim.filter for t in stages[0]]
    assert {str(f.method) for f in first if f} == {str(default[0])} and len(default) == 1
    assert {f.reject for f in first if f} == {0.1} and {f.seed for f in first if f} == {0, 1}
    known = {t.id for t in (*filtering.scorings(filtering.filtered(of, of.filters[0])),)}
    assert {t.id for t in stages[0]} == known
    assert {t.id for t in stages[2] if t.game.name == "self_brew"} == {
        t.id for t in targeted.own_brews(of)[1]
    }
    (later,) = {f.reject for f in (t.victim.filter for t in stages[3]) if f}
    assert isinstance(later, float) and 0.02 <= later <= 0.3 and later != 0.1


@pytest.mark.parametrize("table", ["recipe", "filter"])
def test_a_search_that_is_stopped_goes_on_as_it_would_have(table: str, tmp_path: Path) -> None:
    longer = {"trials": 6, "sampler": "nsga2"}
    of = own({**SEARCH, **longer}) if table == "recipe" else own(filters=({**KNN, **longer},))
    studies = []
    for stop, workers in ((10**6, 1), (23, 2)):
        (folder := tmp_path / str(stop)).mkdir()
        with store_at(folder) as store:
            ran(of, store, workers, stop, answer)
            ran(of, store, workers, answer=answer)
            studies.append(told(of, store))
    assert studies[0] == studies[1] and len(studies[0]) == 6


def test_searches_are_told_apart_by_what_differs() -> None:
    trainings = [RESERVED["training"], {**RESERVED["training"], "epochs": 3}]
    of = own(
        SEARCH,
        filters=({k: v for k, v in KNN.items() if k != "recipes"},),
        victim={**RESERVED, "training": trainings},
        trusted=[0.2, 0.3],
        self_poisoning=[OWN, {**OWN, "pairs": 2}],
    )
    found = labels(searches(of))
    # a recipe's: r and pairs; a filter's also the trainings, and the recipe's first point
    assert len(found) == len(set(found)) == 4 + 4 * 3 == len(targeted_searches(of))
    assert "gradient_shaping, searched, pairs = 3, r = 0.2" in found
    assert "deep_knn, searched, fast, epochs = 3, pairs = 2, r = 0.3" in found


def test_what_a_plan_counts_is_what_runs(tmp_path: Path) -> None:
    of = own(SEARCH, filters=(KNN,))
    assert {x.what: x.note for x in cost_estimate(of, None)}["deep_knn"] == "1 setting, 1 rejection"
    expected = {"gradient_shaping, searched": 3 * (3 + 4), "deep_knn, searched": 3 * (2 + 2 + 4)}
    with store_at(tmp_path) as store:
        before = {x.what: x for x in cost_estimate(of, store)}
        ran(of, store, answer=answer)
        after = {x.what: x for x in cost_estimate(of, store)}
    for what, number in expected.items():
        assert before[what].trials == number and before[what].done == 0
        assert after[what].done == number


def test_without_a_defender_the_judge_searches_filters_too(tmp_path: Path) -> None:
    of = own(filters=(KNN,), self_poisoning={})
    with store_at(tmp_path) as store:
        ran(of, store, answer=answer)
        values = [value[0] for _, _, value in told(of, store)]
        records = store.records(of.name, "targeted")
    filtered = [r.metrics["wanted"] for r in records if r.trial.victim.filter]
    assert sum(values) / 4 == pytest.approx(sum(filtered) / len(filtered))


def refused(says: str, make: Callable[[], object]) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_cannot_be_searched_is_refused_in_one_line(tmp_path: Path) -> None:
    alone = {**tiny_sweep.VICTIM, "reserve": 0.3}
    game = {"game": "filtering", "victim": alone, "self_poisoning": {}, "trusted": 0.3}
    refused('search" is for game = "targeted" alone', lambda: own(filters=(KNN,), **game))
    refused("filter deep_knn is searched twice", lambda: own(filters=(KNN, KNN)))
    for wrong, says in (
        ({"strategy": "one_at_a_time"}, "unknown strategy 'one_at_a_time'. Known: grid, search"),
        ({"sampler": "nsga"}, "Did you mean 'nsga2'"),
        ({"trials": 0}, "filter deep_knn: it must have trials at least 1"),
        ({"recipes": ["fats"]}, "filter deep_knn: unknown recipe 'fats'. Did you mean 'fast'"),
        ({"limit": 2}, 'filter deep_knn: limit changes nothing with strategy = "search"'),
        ({"strategy": "grid"}, 'filter deep_knn: trials changes nothing with strategy = "grid"'),
    ):
        refused(says, partial(own, filters=({**KNN, **wrong},)))
    settled = {**KNN, "reject": 0.1, "fixed": {"assumed": 0.01, "factor": 2, "rule": "majority"}}
    one = {**settled, "name": "spectral_signatures", "fixed": {"scale": "raw"}}  # of its own rule
    for given, kind in ((settled, "filter deep_knn"), (one, "filter spectral_signatures")):
        says = f'{kind}: strategy = "search" has one setting alone'
        refused(says, partial(searches, own(filters=(given,))))
    recipe = {**SEARCH, "fixed": {"epochs": 2, "clip": 1.0, "noise": 0.001}}
    refused("recipe gradient_shaping: .* one setting alone", partial(searches, own(recipe)))
    assert searches(own(filters=({**one, "reject": "own"},)))
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    preflight.check(own(filters=(KNN,)), config)
    later = {**KNN, "name": "badloss", "fixed": {"probes": 20}}  # k = 10 first, and 25 at most
    preflight.check(
        own(filters=({k: v for k, v in later.items() if k not in ("strategy", "trials")},)), config
    )
    refused("k = 25 nearest of 20 probes", lambda: checked(own(filters=(later,)), config))


def checked(of: Sweep, config: Any) -> Sweep:
    preflight.check(of, config)
    return of


@pytest.mark.slow
def test_defenders_search_real_recipes_and_filters_by_own_poison(tmp_path: Path) -> None:
    of = own({**SEARCH, "trials": 3}, filters=({**KNN, "trials": 3},))
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        runner.execute(of, store, config, use_ray=False)
        records = store.records(of.name)
        again = runner.execute(of, store, config, use_ray=False)
    assert {r.status for r in records} == {"done"} and again.done == 0
    (found,) = self_brewed(records)
    kinds = [(s.victim.training.name, bool(s.victim.filter)) for s in found.settings]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        ("fast", False): 1,
        ("gradient_shaping", False): 3,
        ("fast", True): 3,
    }
    assert all(len(s.options) == 2 for s in found.settings)
