"""Defenses in turn: whose turn it is, when it ends, and that what ends it is the copies' answer."""

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
from planned import drained

from results.store import Store
from sweep.execution.scheduler import Scheduler
from sweep.planning import expansion
from sweep.planning.in_turn import InTurn, confirming, expected, in_turn, settled
from sweep.planning.strategy import ListStrategy
from sweep.spec.sweep_file import Sweep
from trials.spec import MethodConfig, Point, Record, Trial

RULE = "worst_kind_within_delta"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store.open(f"sqlite:///{tmp_path}/s.db")
    found.add_sweep(tiny_sweep.sweep().name, {})
    return found


def sweep_of(*limits: tuple[str, int]) -> Sweep:
    asked = [{"name": n, "profile": "small", "limit": limit} for n, limit in limits]
    return tiny_sweep.sweep(defenses=asked)


def trials_of(stage: list[Any]) -> list[Trial]:
    (strategy,) = stage
    assert isinstance(strategy, ListStrategy | InTurn)
    return list(iter(strategy.ask, None))


def names(trials: Iterable[Trial]) -> list[str]:
    return [t.method.name for t in trials if t.method]


def test_the_unrepaired_model_comes_first_then_each_defenses_first_turn(store: Store) -> None:
    sweep = sweep_of(("fst", 2), ("weight_decay", 3), ("none", 1))
    victims, copies, unrepaired, turns = list(in_turn(sweep, store, math.inf, 2))
    assert {t.game.name for t in trials_of(victims)} == {"training"}
    assert {t.game.name for t in trials_of(copies)} == {"self_poison"}
    assert names(trials_of(unrepaired)) == ["none"]
    assert names(trials_of(turns)) == ["fst", "weight_decay", "fst", *2 * ["weight_decay"]]


def test_they_are_the_grids_own_configurations(store: Store) -> None:
    sweep = sweep_of(("fst", 2), ("weight_decay", 3))
    *_, turns = in_turn(sweep, store, math.inf, 1)
    task = expansion.tasks(sweep)[0]
    configs = [c for d in sweep.defenses for c in expansion.configurations(sweep, d)]
    wanted = {expansion.trials_of(sweep, task, c)[0].id for c in configs}
    assert {t.id for t in trials_of(turns)} == wanted


def test_nothing_is_tried_once_the_time_is_up(store: Store) -> None:
    *made, turns = in_turn(sweep_of(("fst", 2)), store, 1e-9, 2)
    assert len(made) == 2  # victims and copies
    assert trials_of(turns) == [] and turns[0].done


def test_copies_that_take_all_the_time_leave_defenses_a_third_of_it(store: Store) -> None:
    stages = in_turn(sweep_of(("fst", 9)), store, 0.6 / 60, 1)
    assert len([next(stages), next(stages)]) == 2
    time.sleep(0.7)
    (turns,) = next(stages)
    assert turns.ask()
    time.sleep(0.3)
    assert turns.ask() is None


def test_looking_for_a_trigger_in_the_given_model_takes_nothing_of_the_third(store: Store) -> None:
    stages = in_turn(sweep_of(("none", 1), ("fst", 9)), store, 0.6 / 60, 1)
    assert len([next(stages), next(stages)]) == 2
    assert names(trials_of(next(stages))) == ["none"]
    time.sleep(0.7)  # more than all of the time
    (turns,) = next(stages)
    assert turns.ask()
    time.sleep(0.3)
    assert turns.ask() is None


@pytest.mark.parametrize(("minutes", "goes_on"), [(3.0, True), (2.0, False)])
def test_it_ends_in_time_for_one_more_setting_and_for_the_best_to_be_confirmed(
    store: Store, monkeypatch: pytest.MonkeyPatch, minutes: float, goes_on: bool
) -> None:
    *_, (turns,) = in_turn(sweep_of(("fst", 9)), store, minutes, 1)
    trial = turns.ask()
    assert trial
    # another setting takes 40 seconds too, and this one some 60 more; a third of the minutes is up
    record = replace(left(0.5), trial=trial, seconds=40.0)
    store.put(record, "tiny")
    turns.tell(record)
    assert expected([record], trial) == 40 and confirming([record], RULE) == pytest.approx(60)
    assert confirming([record] * 5, RULE, 2) == pytest.approx(3 * 40)  # of five seeds, spread
    later = time.monotonic() + 60 * minutes / 3
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert bool(turns.ask()) is goes_on


def test_there_is_nothing_to_confirm_of_a_model_left_alone() -> None:
    assert confirming([], RULE) == expected([], left(0.5).trial) == 0
    unrepaired = replace(left(1.0, "none"), curve=(Point(0, 0.95, 1.0),), seconds=40.0)
    assert confirming([unrepaired], RULE) == expected([unrepaired], left(0.5).trial) == 0


def test_what_a_setting_takes_is_told_by_those_of_its_defense() -> None:
    whole = replace(left(0.5), seconds=40.0)
    dear = replace(left(0.5), seconds=4.0, curve=(Point(0, 0.95, 1.0),))  # not on the copies
    failed = replace(left(0.5), status="failed", seconds=900.0, curve=())
    fst, nad = left(0.5).trial, left(0.5, "nad").trial
    assert expected([whole, replace(whole, seconds=30.0), dear, failed], fst) == 40
    assert expected([dear, failed], fst) == 2 * 4
    assert expected([whole, replace(whole, seconds=30.0), dear, failed], nad) == 35
    assert expected([dear, failed], nad) == 0


def test_what_has_more_steps_takes_longer() -> None:
    def of(steps: int) -> Trial:
        return replace(left(0.5).trial, method=MethodConfig("fst", {"steps": steps}))

    whole = replace(left(0.5), trial=of(200), seconds=40.0)
    assert expected([whole], of(400)) == 80
    given_up = replace(whole, curve=(Point(0, 0.95, 1.0),))
    assert expected([given_up], of(400)) == 2 * 80


def test_what_could_not_be_confirmed_in_time_is_passed_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, (turns,) = in_turn(sweep_of(("weight_decay", 3)), store, 10.0, 1)
    trial = turns.ask()
    assert trial
    record = replace(left(1.0), trial=trial, seconds=100.0)  # left alone: nothing to confirm yet
    store.put(record, "tiny")
    turns.tell(record)
    later = time.monotonic() + 360  # 240 s are left, of which it takes 100 and 150 to be confirmed
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert turns.ask() is None and turns.done


def test_what_will_not_end_in_time_is_passed_over_for_what_will(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(("fst", 2), ("weight_decay", 2))
    *_, (turns,) = in_turn(sweep, store, 10.0, 1)
    for seconds in (400.0, 20.0):
        trial = turns.ask()
        assert trial
        record = replace(left(1.0), trial=trial, seconds=seconds)
        store.put(record, sweep.name)
        turns.tell(record)
    later = time.monotonic() + 500
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert names(iter(turns.ask, None)) == ["weight_decay"] and not turns.done


def left(asr: float, defense: str = "fst", cda: float = 0.95, n: int = 400) -> Record:
    trial = replace(
        tiny_sweep.first(tiny_sweep.sweep(), "tuning"), method=MethodConfig(defense, {"lr": 0.1})
    )
    curve = (Point(0, 0.95, 1.0), Point(50, cda, asr))
    return Record(trial=trial, status="done", metrics={"n_triggered": float(n)}, curve=curve)


@pytest.mark.parametrize(
    ("record", "ends"),
    [
        (left(0.0), True),
        (left(0.03), False),  # its interval reaches beyond 5 %
        (left(0.0, n=20), False),
        (left(0.0, cda=0.90), False),  # too costly
        (left(0.0, "fine_tuning"), False),  # a control
        (left(0.0, "neural_cleanse"), False),  # copies say too little of what it leaves
    ],
)
def test_it_ends_where_the_interval_is_below_what_counts_as_repaired(
    record: Record, ends: bool
) -> None:
    assert settled([record], RULE) is ends
    assert not settled([], RULE)


def too_costly(trial: Trial) -> Record:
    curve = (Point(0, 0.95, 1.0),)
    return Record(trial=trial, status="done", metrics={"cda_given": 0.9}, curve=curve)


def left_of(trial: Trial) -> Record:
    return replace(left(1.0), trial=trial)


def asked(
    sweep: Sweep, store: Store, workers: int = 1, record: Any = too_costly
) -> list[list[Trial]]:
    """What defenses are asked for, as often as a worker is free; all that run end alike."""
    found = []
    for (strategy,) in in_turn(sweep, store, math.inf, workers):
        while not strategy.done:
            trials = [t for _ in range(workers) if (t := strategy.ask())]
            records = list(map(record, trials))
            if trials and trials[0].game.name == "tuning":
                store.put_many(records, sweep.name)
                found.append(trials)
            for each in records:
                strategy.tell(each)
    return found


def rate(trial: Trial) -> tuple[str, Any]:
    assert trial.method
    return trial.method.name, trial.method.params.get("lr")


def test_what_costs_too_much_comes_again_at_lower_rates(store: Store) -> None:
    sweep = sweep_of(("ft_sam", 2), ("fst", 1))
    trials = list(chain.from_iterable(asked(sweep, store, 1)))
    one, two = (float(c.params["lr"]) for c in expansion.configurations(sweep, sweep.defenses[0]))
    redrawn = expansion.configurations(sweep, sweep.defenses[1])[0].params["lr"]
    assert list(map(rate, trials)) == [
        *(("ft_sam", pytest.approx(lr)) for lr in (one, one / 3, one / 9)),
        ("fst", redrawn),  # whose head is drawn anew: a lower rate does not keep it nearer
        *(("ft_sam", pytest.approx(lr)) for lr in (two, two / 3, two / 9)),
    ]
    first, lower, *_ = (t.method.params for t in trials if t.method)
    assert {**lower, "lr": one} == first


@pytest.mark.parametrize("workers", [2, 4, 16])
def test_however_many_run_at_a_time_the_same_is_tried(store: Store, workers: int) -> None:
    sweep = sweep_of(("none", 1), ("ft_sam", 2), ("weight_decay", 2))
    batches = asked(sweep, store, workers)
    trials = list(chain.from_iterable(batches))
    assert len(trials) == len({t.id for t in trials}) == 1 + 3 * (2 + 2)
    assert len(batches[1]) == min(workers, 4)  # no worker is idle while there is something new
    assert asked(sweep, store, workers) == batches  # a second run, with all of it in the store


def test_what_costs_little_does_not_come_again(store: Store) -> None:
    sweep = sweep_of(("ft_sam", 2))
    found = chain.from_iterable(asked(sweep, store, 1, left_of))
    assert [t.method for t in found] == expansion.configurations(sweep, sweep.defenses[0])


def test_what_one_seed_can_bear_does_not_come_again(store: Store) -> None:
    sweep = replace(sweep_of(("ft_sam", 1)), seeds=(0, 1))
    found = asked(sweep, store, 1, lambda t: (too_costly if t.seed else left_of)(t))
    assert [t.seed for (t,) in found] == [0, 1]


def test_a_rate_that_was_fixed_stays(store: Store) -> None:
    fixed = {"name": "ft_sam", "profile": "small", "limit": 1, "fixed": {"lr": 0.05}}
    ((trial,),) = asked(tiny_sweep.sweep(defenses=[fixed]), store, 1)
    assert rate(trial) == ("ft_sam", 0.05)


def test_a_repair_that_diverges_comes_again(store: Store) -> None:
    def diverged(trial: Trial) -> Record:
        return Record(trial=trial, status="failed", error="ArithmeticError: the loss is not finite")

    def broken(trial: Trial) -> Record:
        return Record(trial=trial, status="failed", error="LookupError: no such layer")

    sweep = sweep_of(("ft_sam", 1))
    assert len(asked(sweep, store, 1, broken)) == 1
    store.forget([f.trial.id for f in store.failures(sweep.name)])
    assert len(asked(sweep, store, 1, diverged)) == 3


@pytest.mark.parametrize("workers", [1, 16])
def test_a_lower_rate_that_the_grid_has_too_runs_once(store: Store, workers: int) -> None:
    asked_for = [{"name": "ft_sam", "profile": "imagenet"}]  # lr 0.03 and 0.01
    sweep = tiny_sweep.sweep(defenses=asked_for)
    trials = list(chain.from_iterable(asked(sweep, store, workers)))
    methods = [expansion.key_of(t.method) for t in trials]
    assert len(methods) == len(set(methods))
    grid = {expansion.key_of(c) for c in expansion.configurations(sweep, sweep.defenses[0])}
    assert grid < set(methods)


def test_one_rate_that_was_fixed_keeps_the_others(store: Store) -> None:
    nad = {"name": "nad", "profile": "small", "limit": 1, "fixed": {"lr": 0.05}}
    assert len(asked(tiny_sweep.sweep(defenses=[nad]), store, 1)) == 1


def test_a_teachers_rate_falls_with_its_pupils(store: Store) -> None:
    first, second, _ = chain.from_iterable(asked(sweep_of(("nad", 1)), store, 1))
    higher, lower = (float(t.method.params["teacher_lr"]) for t in (first, second) if t.method)
    assert lower == higher / 3


def test_what_still_runs_is_waited_for_as_it_may_come_again(store: Store) -> None:
    sweep = sweep_of(("ft_sam", 1), ("fst", 1))
    *_, (turns,) = in_turn(sweep, store, math.inf, 3)
    first, other = turns.ask(), turns.ask()
    assert first and other and turns.ask() is None and not turns.done
    for trial in (other, first):
        store.put(too_costly(trial), sweep.name)
        turns.tell(too_costly(trial))
    again = turns.ask()
    assert again and rate(again)[0] == "ft_sam" and not turns.done
    store.put(left_of(again), sweep.name)
    turns.tell(left_of(again))
    assert turns.ask() is None and turns.done and turns.size == 3


def test_the_scheduler_runs_and_counts_all_of_them(store: Store) -> None:
    sweep = sweep_of(("none", 1), ("ft_sam", 2), ("weight_decay", 2))
    scheduler = Scheduler(in_turn(sweep, store, math.inf, 2), store, sweep.name)
    ran = drained(scheduler, too_costly)
    assert len([t for t in ran if t.game.name == "tuning"]) == 1 + 3 * (2 + 2)
    assert scheduler.over and scheduler.progress.planned == scheduler.progress.done == len(ran)


def near(trial: Trial) -> Record:
    """Three points lost, of two allowed."""
    return replace(too_costly(trial), metrics={"cda_given": 0.92})


def test_what_is_learned_again_comes_for_more_steps_where_that_may_suffice(store: Store) -> None:
    sweep = sweep_of(("fst", 1))
    trials = [t.method.params for (t,) in asked(sweep, store, 1, near) if t.method]
    (config,) = expansion.configurations(sweep, sweep.defenses[0])
    steps = int(config.params["steps"])
    assert trials == [{**config.params, "steps": n} for n in (steps, 2 * steps, 4 * steps)]
    store.forget([r.trial.id for r in store.records(sweep.name, "tuning")])
    assert len(asked(sweep, store, 1, too_costly)) == 1  # it costs 5 points: too far


def test_a_length_that_somebody_fixed_stays(store: Store) -> None:
    fst = {"name": "fst", "profile": "small", "limit": 1, "fixed": {"steps": 100}}
    sweep = tiny_sweep.sweep(defenses=[fst])
    assert len(asked(sweep, store, 1, near)) == 1
    store.forget([r.trial.id for r in store.records(sweep.name, "tuning")])
    own = list[Trial]()
    for (strategy,) in in_turn(sweep, store, math.inf, 1, own=True):
        while trial := strategy.ask():
            own += [trial] if trial.method else []
            store.put(near(trial), sweep.name)
            strategy.tell(near(trial))
    assert [t.method.params["steps"] for t in own if t.method] == [100, 200, 400]
