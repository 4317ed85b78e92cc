"""[[filters]]: what a sweep may say of data filters, and each refusal before any compute."""

from pathlib import Path
from typing import Any

import pytest
import tiny_sweep

from sweep.execution.preflight import check
from sweep.planning import expansion, filtering
from sweep.planning.filtering import first_and_rest, scorings, trainings
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.dependencies import filtering_of
from trials.spec import SpecError

FILTERS: list[dict[str, Any]] = [
    {"name": "badloss", "profile": "small", "limit": 3, "reject": [0.2, 0.4]},
    {"name": "spectral_signatures", "profile": "small", "reject": ["own", 0.4]},
]


def sweep(filters: list[dict[str, Any]] = FILTERS, **changes: Any) -> Sweep:
    return tiny_sweep.sweep(
        **{
            "game": "filtering",
            "filters": filters,
            "defenses": [],
            "trusted": 0.25,
            "self_poisoning": {},
            **changes,
        }
    )


def refused(says: str, **changes: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        sweep(**changes)
    assert "\n" not in str(caught.value)


def test_each_setting_rejection_r_and_seed_is_a_trial_and_a_training() -> None:
    of = sweep(seeds=[0, 1], trusted=[0.2, 0.25])
    victims = [v for f in of.filters for v in filtering.filtered(of, f)]
    assert len(victims) == 2 * 2 * (3 * 2 + 1 * 2)
    assert len(scorings(victims)) == len(trainings(victims)) == len(victims)
    first, rest = first_and_rest(scorings(victims))
    assert len(first) == 2 * 2 * 2 and len(first) + len(rest) == len(victims)
    assert {t.seed for t in first} == {0, 1} and {t.trusted for t in first} == {0.2, 0.25}
    expansion.bounded(of)


def test_settings_that_are_fixed_hold() -> None:
    of = sweep([{"name": "badloss", "profile": "small", "limit": 4, "fixed": {"k": 7}}])
    points = filtering.points(of.filters[0])
    assert {p.params["k"] for p in points} == {7} and len(points) > 1
    assert of.filters[0].reject == (0.4,)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"name": "badlos"}, r"unknown filter 'badlos'\. Did you mean 'badloss'\? Known: abl"),
        ({"name": "badloss", "profile": "cifar"}, r"unknown profile 'cifar'"),
        ({"name": "badloss", "limit": 0}, r"filter badloss: limit must be at least 1, got 0\."),
        ({"name": "badloss", "fixed": {"k": 0}}, r"badloss: k must be an integer in \[1, inf\)"),
        ({"name": "badloss", "strategies": "grid"}, r"unknown key of filters 'strategies'"),
        ({"name": "badloss", "reject": 1.0}, r"filter badloss: reject must lie in \(0, 1\), got 1"),
        ({"name": "badloss", "reject": 40}, r"got 40\. It is a fraction: write 0\.4 for 40 %\."),
        (
            {"name": "badloss", "reject": "all"},
            r"a share of the rows or one of own, recall, budget, mixture, got 'all'",
        ),
        ({"name": "badloss", "reject": []}, r"reject is an empty list"),
        (
            {"name": "badloss", "reject": "own"},
            r"badloss: it has no rule of its own.*Write a share",
        ),
    ],
)
def test_a_table_that_cannot_be_is_one_line(table: dict[str, Any], says: str) -> None:
    refused(says, filters=[table])


def test_filters_go_with_their_game_alone() -> None:
    refused(r"game = \"tuning\" runs none: write game = \"filtering\"", game="tuning")
    refused(r"game = \"training\" runs none", game="training")
    refused(r"there is no \[\[filters\]\] table\. Known filters: abl, ", filters=[])
    refused(
        r"detectors are given .* need game = \"tuning\"", detectors=[{"name": "neural_cleanse"}]
    )
    given = {**tiny_sweep.VICTIM, "training": {"name": "given"}, "attacks": ["none"]}
    refused(r"the recipe 'given' trains nothing: choose another recipe", victim=given)


def preflight(of: Sweep, folder: Path, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        check(of, tiny_sweep.worker_config(folder))
    assert "\n" not in str(caught.value)
    made = [p for p in folder.rglob("*") if p.is_file()]
    assert not made, "nothing is trained before it is refused"


@pytest.mark.parametrize(
    ("fixed", "says"),
    [
        ({"k": 60, "probes": 50}, r"badloss: k = 60 nearest of 50 probes"),
        ({"probes": 400}, r"badloss: probes = 400, but there are 360 trusted images"),
        ({"epochs": 30}, r"badloss: epochs = 30 of 15 that are tracked"),
    ],
)
def test_probes_and_epochs_are_counted_before_any_training(
    fixed: dict[str, int], says: str, tmp_path: Path
) -> None:
    of = sweep([{"name": "badloss", "profile": "small", "fixed": fixed}])
    preflight(of, tmp_path, says)


def test_other_filters_settings_are_looked_at_too(tmp_path: Path) -> None:
    of = sweep([{"name": "deep_knn", "profile": "small", "fixed": {"assumed": 1.0}}])
    preflight(of, tmp_path, r"deep_knn: 2164 nearest of 1441 other images")
    of = sweep([{"name": "confident_learning", "profile": "small", "fixed": {"folds": 1}}])
    preflight(of, tmp_path, r"confident_learning: folds must lie in \[2, 1082\]")


def test_what_can_run_passes(tmp_path: Path) -> None:
    every = [{"name": name, "profile": "small"} for name in catalog.names("filters")]
    check(sweep(every), tiny_sweep.worker_config(tmp_path))


def test_defenses_beside_filters_need_an_attack_and_nobody_who_sees_it() -> None:
    assert len(sweep(defenses=tiny_sweep.DEFENSES).defenses) == 2
    searching = {**tiny_sweep.DEFENSES[0], "strategy": "search"}
    refused(r"weight_decay: strategy = \"search\" would follow the attacks'", defenses=[searching])
    clean = {**tiny_sweep.VICTIM, "attacks": ["none"]}
    refused(
        r"no victim is attacked, so there is no backdoor to repair",
        victim=clean,
        defenses=tiny_sweep.DEFENSES,
    )


def test_a_defense_that_does_not_fit_the_model_is_one_line(tmp_path: Path) -> None:
    model = {"name": "small_cnn", "width": 8, "groups": 4}
    of = sweep(
        defenses=[{"name": "clp", "profile": "small"}],
        victim={**tiny_sweep.VICTIM, "model": model},
    )
    preflight(of, tmp_path, r"clp needs .*small_cnn")


# By poison of the defender's own.

RECALL: list[dict[str, Any]] = [
    {"name": "badloss", "profile": "small", "reject": ["recall", 0.4], "beta": [0.1, 0.05]}
]


def test_rules_thresholds_and_quotas_are_axes() -> None:
    filters = [{**RECALL[0], "quota": ["global", "capped"]}]
    of = sweep(filters, self_poisoning={"attacks": 3})
    victims = filtering.filtered(of, of.filters[0])
    assert len(victims) == 2 * 2 + 2  # beta is of recall alone
    assert len(filtering.own_sets(victims)) == 1  # all read one training
    poisoned_so = [v.filter.self_poisoning for v in victims if v.filter]
    assert all(p is not None and p.params["attacks"] == 3 for p in poisoned_so)


def test_the_accuracy_that_the_rule_budget_may_cost_is_the_sweeps() -> None:
    given = [{"name": "badloss", "profile": "small", "reject": ["budget", 0.4]}]
    own = {"attacks": 3}
    of = sweep(given, self_poisoning=own, tuning={"delta": 0.05})
    budget, share = filtering.filtered(of, of.filters[0])
    assert filtering_of(budget).game.params["delta"] == 0.05
    assert share.filter and not share.filter.threshold  # a share does not look at it
    as_before = sweep(given, self_poisoning=own)
    first, _ = filtering.filtered(as_before, as_before.filters[0])
    assert filtering_of(first).game.params["delta"] == 0.02
    assert first.filter and not first.filter.threshold and first.id != budget.id


def test_a_cap_is_of_quotas_that_have_one() -> None:
    refused(
        r'cap is of a class\'s rows, and quota = "global" ranks all rows together: write',
        filters=[{"name": "badloss", "cap": 0.3}],
    )
    filters = [{"name": "badloss", "profile": "small", "quota": ["global", "within"], "cap": 0.3}]
    of = sweep(filters)
    whole, within = filtering.filtered(of, of.filters[0])
    plain = sweep([{"name": "badloss", "profile": "small"}])
    assert [whole.id] == [v.id for v in filtering.filtered(plain, plain.filters[0])]
    assert within.filter and within.filter.threshold == {"quota": "within", "cap": 0.3}


def test_what_own_poison_sets_needs_a_table_of_it() -> None:
    refused(r'reject = "recall" is set by poison.*add a table \[self_poisoning\]', filters=RECALL)


def test_settings_of_own_poison_are_checked() -> None:
    refused(r"unknown setting of self_poison_data 'steps'", self_poisoning={"steps": 9})
    refused(r"quota must be", filters=[{"name": "badloss", "quota": "all"}])
    refused(r"beta must be", filters=[{"name": "badloss", "beta": 0.0}])
