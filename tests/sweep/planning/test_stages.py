"""What is planned is what runs, and the winners are judged once more."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_sweep
from planned import record, whole

from results.store import Store
from search_spaces._strategies import grid
from sweep.commands.plan import cost_estimate
from sweep.planning import expansion
from sweep.planning.stages import stages
from trials import catalog
from trials.dependencies import dependencies
from trials.self_poisoning import KINDS
from trials.spec import Record, Trial


def test_a_limited_grid_has_so_many_points_and_the_papers_first() -> None:
    sweep = tiny_sweep.sweep(defenses=[{"name": "weight_decay", "profile": "small", "limit": 4}])
    points = expansion.configurations(sweep, sweep.defenses[0])
    everything = expansion.configurations(sweep, replace(sweep.defenses[0], limit=0))
    assert (len(points), len(everything)) == (4, 9)
    assert points[0] == everything[0]
    assert {str(p) for p in points} <= {str(p) for p in everything}


def test_copies_with_the_hardest_kinds_of_trigger_are_begun_first(tmp_path: Path) -> None:
    mixed = {**tiny_sweep.SELF_POISONING, "attack": "mixed"}
    sweep = tiny_sweep.sweep(self_poisoning=mixed, tuning={"copies": 4})
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        _, (copies,), *_ = itertools.islice(stages(sweep, store), 2)
    begun = [trial.game.params["copy"] for trial in iter(copies.ask, None)]
    assert [KINDS[int(copy)] for copy in begun] == ["adaptive", "warp", "patch", "corner"]


def test_one_at_a_time_changes_one_setting() -> None:
    sweep = tiny_sweep.sweep(
        defenses=[{"name": "weight_decay", "profile": "small", "strategy": "one_at_a_time"}]
    )
    first, *others = expansion.configurations(sweep, sweep.defenses[0])
    assert others
    assert all(sum(first.params[k] != p.params[k] for k in first.params) == 1 for p in others)


def test_fixed_settings_overrule_the_space_and_merge_its_points() -> None:
    held = {"name": "weight_decay", "profile": "small", "fixed": {"lr": 0.5}}
    sweep = tiny_sweep.sweep(defenses=[held])
    points = expansion.configurations(sweep, sweep.defenses[0])
    assert {p.params["lr"] for p in points} == {0.5}
    assert len(points) == 3


@pytest.mark.parametrize("profile", ["cifar10", "imagenet", "small"])
@pytest.mark.parametrize("name", catalog.names("spaces"))
def test_every_space_has_a_grid_in_every_profile(name: str, profile: str) -> None:
    sweep = tiny_sweep.sweep(defenses=[{"name": name, "profile": profile}])
    assert len(expansion.configurations(sweep, sweep.defenses[0])) == len(
        grid(catalog.find("spaces", name), profile)
    )


def test_what_is_counted_is_what_runs(store: Store) -> None:
    sweep = tiny_sweep.sweep(
        seeds=[0, 1], trusted=[0.1, 0.2], victim={**tiny_sweep.VICTIM, "seeds": [0, 1]}
    )
    ran = whole(sweep, store)
    configurations = sum(len(expansion.configurations(sweep, d)) for d in sweep.defenses)
    games = [t.game.name for t in ran]
    assert games.count("training") == len(expansion.victims(sweep)) == 2
    assert games.count("self_poison") == len(expansion.copies(sweep)) == 2 * 2 * 2
    assert games.count("tuning") == configurations * 2 * 2 * 2
    assert games.count("robustness") == 2 * 2 * 2 * 2  # defenses, tasks, seeds
    # tasks, seeds: the report images are for the best defense alone
    assert games.count("confirmation") == 2 * 2 * 2
    assert len({t.id for t in ran}) == len(ran)


def test_every_trial_runs_after_what_it_needs(store: Store) -> None:
    ran = whole(tiny_sweep.sweep(tuning={"copies": 2}), store)
    order = {t.id: i for i, t in enumerate(ran)}
    for trial in ran:
        assert all(order[n.id] < order[trial.id] for n in dependencies(trial))


def test_the_best_is_confirmed_and_each_winner_frozen_at_its_step(store: Store) -> None:
    def answer(trial: Trial) -> Record:
        good = (
            trial.method
            and trial.method.name == "weight_decay"
            and trial.method.params["lr"] == 0.1
        )
        return record(trial, asr=0.1 if good else 0.6)

    sweep = tiny_sweep.sweep(oracle=True)
    ran = whole(sweep, store, answer)
    judged = [t for t in ran if t.game.name in {"confirmation", "robustness"}]
    confirmed = [t for t in judged if t.game.name == "confirmation"]
    assert [(t.method.name, t.game.params["stop_at"]) for t in confirmed if t.method] == [
        ("weight_decay", 4)
    ]
    assert sorted(t.game.params["stop_at"] for t in judged if t.game.name == "robustness") == [
        0,
        0,
        4,
        4,
    ]
    best = [t for t in judged if t.method and t.method.name == "weight_decay"]
    assert {t.method.params["lr"] for t in best if t.method} == {0.1}
    assert all(t.self_poisoning is None for t in judged if t.game.name == "robustness")


def test_a_clean_victim_is_not_judged_on_a_real_attack(store: Store) -> None:
    ran = whole(tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": ["none"]}), store)
    assert "robustness" not in {t.game.name for t in ran}


def test_each_winner_is_judged_on_a_clean_victim_of_its_seed_too(store: Store) -> None:
    attacks = ["none", {"name": "badnets", "m": 60}]
    sweep = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": attacks, "seeds": [0, 1]})
    ran = whole(sweep, store)
    spared = [t for t in ran if t.game.name == "robustness" and not t.victim.attacks]
    assert [t.game.params["stop_at"] for t in spared] == [4] * 4
    assert sorted((t.victim.seed, t.method.name) for t in spared if t.method) == sorted(
        itertools.product([0, 1], ["weight_decay", "fine_tuning"])
    )
    assert cost_estimate(sweep, None)[-1].trials == 2 * 2 + len(spared)
    assert not whole(sweep, store)


def test_what_was_tuned_on_a_clean_victim_is_not_judged_on_it(store: Store) -> None:
    attacks = ["none", {"name": "badnets", "m": 60}]
    sweep = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": attacks}, tune_on="clean")
    ran = whole(sweep, store)
    assert [bool(t.victim.attacks) for t in ran if t.game.name == "robustness"] == [True] * 2


def test_a_clean_victim_that_is_trained_otherwise_is_not_judged(store: Store) -> None:
    sweep = tiny_sweep.sweep()
    longer = tiny_sweep.sweep(
        victim={**tiny_sweep.VICTIM, "attacks": ["none"], "training": "paper"}
    )
    ran = whole(replace(sweep, victims=sweep.victims + longer.victims), store)
    assert all(t.victim.attacks for t in ran if t.game.name == "robustness")


def test_a_winner_that_changes_nothing_is_not_judged_on_a_clean_victim(store: Store) -> None:
    attacks = ["none", {"name": "badnets", "m": 60}]
    sweep = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": attacks})
    ran = whole(sweep, store, lambda t: record(t, asr=1.0, cda=0.5))
    assert all(t.victim.attacks for t in ran if t.game.name == "robustness")


def test_no_winner_is_judged_where_nothing_finished(store: Store) -> None:
    ran = whole(
        tiny_sweep.sweep(), store, lambda t: record(t, status="failed" if t.method else "done")
    )
    assert {t.game.name for t in ran} == {"training", "self_poison", "tuning"}


def test_an_edited_sweep_judges_only_what_it_still_holds(store: Store) -> None:
    whole(tiny_sweep.sweep(trusted=0.1), store)
    ran = whole(tiny_sweep.sweep(trusted=0.2, defenses=tiny_sweep.DEFENSES[:1]), store)
    assert {t.trusted for t in ran if t.method} == {0.2}
    again = whole(tiny_sweep.sweep(trusted=0.1, defenses=tiny_sweep.DEFENSES[:1]), store)
    assert {t.game.name for t in again} == {"confirmation"}  # of the defense that is now the best


def test_robustness_for_research_needs_no_copies(store: Store) -> None:
    ran = whole(tiny_sweep.sweep(game="robustness", rule="oracle"), store)
    assert {t.game.name for t in ran} == {"training", "robustness"}
    assert len(ran) == 1 + 4


def test_settings_of_tuning_reach_the_judges(store: Store) -> None:
    ran = whole(tiny_sweep.sweep(tuning={"copies": 1, "record_every": 2, "delta": 0.3}), store)
    for trial in ran:
        if trial.method:
            assert trial.game.params["record_every"] == 2
            assert trial.game.params.get("delta", 0.3) == 0.3
