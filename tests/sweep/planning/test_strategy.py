"""A search asks the paper's optimum first, tells what came of it, and resumes without a repeat."""

from typing import Any

import optuna
import pytest
import tiny_sweep
from optuna.trial import TrialState
from planned import by_lr, drained, lr, record, searching, strategy, whole

from results.store import Store
from sweep.execution.scheduler import Scheduler
from sweep.planning import expansion
from sweep.planning.stages import stages
from sweep.planning.strategy import ListStrategy

SAMPLERS = ["random", "tpe", "nsga2", "gp"]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objectives", [["asr"], ["asr", "cda_loss"]])
def test_every_sampler_asks_the_papers_optimum_first_and_so_many(
    store: Store, sampler: str, objectives: list[str]
) -> None:
    sweep = searching(5, sampler=sampler, objectives=objectives)
    asking = strategy(sweep, store)
    ran = drained(Scheduler(iter([[asking]]), store, "tiny"), by_lr)
    default = expansion.configurations(
        tiny_sweep.sweep(defenses=[{"name": "weight_decay", "profile": "small"}]), _grid()
    )[0]
    assert ran[0].method == default
    assert len(ran) == len({t.id for t in ran}) == 5
    assert asking.done
    for trial in asking.study.trials:
        assert trial.state is TrialState.COMPLETE
        assert len(trial.values) == len(objectives)
        assert set(trial.constraints) == {"cda_loss"}


def _grid() -> Any:
    return tiny_sweep.sweep(defenses=[{"name": "weight_decay", "profile": "small"}]).defenses[0]


def test_the_loss_beyond_delta_is_told_as_a_constraint_and_the_value_is_the_rules(
    store: Store,
) -> None:
    asking = strategy(searching(4), store)
    drained(Scheduler(iter([[asking]]), store, "tiny"), lambda t: record(t, asr=0.25, cda=0.895))
    first = asking.study.trials[0]
    assert first.values == [0.25]
    assert first.constraints["cda_loss"] == pytest.approx(0.005 - 0.02)


def test_a_failure_is_told_as_one_and_a_pruned_trial_as_pruned(store: Store) -> None:
    asking = strategy(searching(3), store)
    states = iter(["failed", "pruned", "done"])
    drained(Scheduler(iter([[asking]]), store, "tiny"), lambda t: record(t, status=next(states)))
    assert [t.state for t in asking.study.trials] == [
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.COMPLETE,
    ]


def test_several_base_seeds_are_told_as_their_mean(store: Store) -> None:
    asking = strategy(searching(2, seeds=[0, 1]), store)
    ran = drained(
        Scheduler(iter([[asking]]), store, "tiny"), lambda t: record(t, asr=0.2 + 0.4 * t.seed)
    )
    assert [t.seed for t in ran] == [0, 1, 0, 1]
    assert len(asking.study.trials) == 2
    assert asking.study.trials[0].values == [pytest.approx(0.4)]


def test_one_failed_seed_fails_the_configuration(store: Store) -> None:
    asking = strategy(searching(1, seeds=[0, 1]), store)
    drained(
        Scheduler(iter([[asking]]), store, "tiny"),
        lambda t: record(t, status="failed" if t.seed else "done"),
    )
    assert [t.state for t in asking.study.trials] == [TrialState.FAIL]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_resumed_search_asks_only_the_rest_and_nothing_twice(store: Store, sampler: str) -> None:
    before = whole(searching(4, sampler=sampler), store, by_lr)
    after = whole(searching(9, sampler=sampler), store, by_lr)
    assert sum(t.game.name == "tuning" for t in after) == len(after) == 5
    assert not {t.id for t in before} & {t.id for t in after}
    assert not whole(searching(9, sampler=sampler), store, by_lr)


def test_a_resumed_search_knows_the_values_states_and_constraints(store: Store) -> None:
    states = iter(["done", "failed", "pruned"])
    whole(searching(3), store, lambda t: record(t, status=next(states)) if t.method else record(t))
    resumed = strategy(searching(5), store)
    resumed.ask()
    study = resumed.study
    told = [t for t in study.trials if t.state.is_finished()]
    assert sorted(t.state.name for t in told) == ["COMPLETE", "FAIL", "PRUNED"]
    complete = next(t for t in told if t.state is TrialState.COMPLETE)
    assert complete.values == [0.5]
    assert set(complete.constraints) == {"cda_loss"}


def test_a_configuration_that_lacks_a_seed_is_finished_first(store: Store) -> None:
    sweep = searching(4, seeds=[0, 1])
    scheduler = Scheduler(stages(sweep, store), store, "tiny")
    ran = [scheduler.next() for _ in range(1)]
    while ran[-1] is not None and ran[-1].method is None:
        scheduler.finish(record(ran[-1]))
        ran.append(scheduler.next())
    for _ in range(2):  # the default's two seeds, then one seed of the next
        assert ran[-1] is not None
        scheduler.finish(record(ran[-1]))
        ran.append(scheduler.next())
    torn = ran[-1]
    assert torn is not None
    scheduler.finish(record(torn))
    first = whole(sweep, store)[0]
    assert first.method == torn.method
    assert first.seed != torn.seed


def test_a_search_with_branches_resumes(store: Store) -> None:
    """Pivotal Tuning asks for ``lr_adam`` in one branch; the stored setting is ``lr``."""
    extra = {"name": "pivotal_tuning", "profile": "cifar10", "sampler": "random"}
    whole(searching(12, **extra), store)
    resumed = strategy(searching(14, **extra), store)
    resumed.ask()
    branches = {t.params["optimizer"] for t in resumed.study.trials}
    assert branches == {"sgd", "adam"}
    assert len(whole(searching(14, **extra), store)) == 2


@pytest.mark.parametrize("lr", [0.05, 7.0])
def test_a_search_with_a_fixed_setting_resumes(store: Store, lr: float) -> None:
    whole(searching(3, fixed={"lr": lr}), store)
    assert len(whole(searching(5, fixed={"lr": lr}), store)) == 2


def test_records_of_another_space_are_no_history(store: Store) -> None:
    whole(searching(3, fixed={"lr": 7.0}), store)
    asking = strategy(searching(3), store)
    assert asking.known == 0
    first = asking.ask()  # the paper's optimum
    assert first is not None
    assert lr(first) != 7.0
    assert [t.state for t in asking.study.trials] == [TrialState.RUNNING]


def test_a_search_that_asks_twice_for_one_configuration_runs_it_once(store: Store) -> None:
    sweep = searching(4, name="none")
    asking = strategy(sweep, store)
    ran = drained(Scheduler(iter([[asking]]), store, "tiny"))
    assert len(ran) == 1
    assert asking.done
    assert [t.state for t in asking.study.trials] == [TrialState.COMPLETE] * 4


def test_the_same_configuration_in_flight_twice_is_told_twice(store: Store) -> None:
    asking = strategy(searching(3, name="none"), store)
    scheduler = Scheduler(iter([[asking]]), store, "tiny")
    trial = scheduler.next()
    assert trial is not None
    assert scheduler.next() is None  # the other two wait for it
    assert not scheduler.over
    scheduler.finish(record(trial))
    assert scheduler.next() is None
    assert scheduler.over
    assert len(asking.study.trials) == 3


def test_a_list_strategy_is_done_when_all_is_told() -> None:
    trials = expansion.copies(tiny_sweep.sweep(tuning={"copies": 2}))
    listed = ListStrategy("x", trials)
    assert [listed.ask(), listed.ask(), listed.ask()] == [*trials, None]
    listed.tell(record(trials[0]))
    assert not listed.done
    listed.tell(record(trials[1]))
    assert listed.done


def test_optuna_says_nothing() -> None:
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
