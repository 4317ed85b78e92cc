"""What trials build on, as a graph, and a sweep's first stages as its levels."""

from dataclasses import replace

import tiny_sweep

from results.store import Store
from sweep.planning import expansion
from sweep.planning.stages import stages
from trials.dependencies import copy_of, dependencies, graph, training_of

SWEEP = tiny_sweep.sweep(tuning={"copies": 2}, victim={**tiny_sweep.VICTIM, "seeds": [0, 1]})


def test_a_tuning_trial_builds_on_its_victim_and_its_copies_and_these_on_the_victim() -> None:
    tuning = tiny_sweep.first(SWEEP, "tuning")
    found = dependencies(tuning)
    victim, copies = training_of(tuning.victim), [copy_of(tuning, i) for i in range(2)]
    assert [t.id for t in found] == [victim.id, *(c.id for c in copies)]
    assert found.needs == {victim.id: (), **{c.id: (victim.id,) for c in copies}}
    assert found.levels() == [[victim], copies]
    assert dependencies(victim).levels() == [] and len(dependencies(victim)) == 0


def test_the_levels_of_many_trials_hold_each_once_and_in_order() -> None:
    victims, copies = expansion.victims(SWEEP), expansion.copies(SWEEP)
    tuning = tiny_sweep.first(SWEEP, "tuning")
    found = graph([tuning, *copies, *victims, tuning])
    first, second, third = ([t.id for t in level] for level in found.levels())
    assert set(first) == {t.id for t in victims} and len(first) == 2
    assert set(second) == {t.id for t in copies} and len(second) == 4
    assert third == [tuning.id]
    order = [t.id for t in found]
    assert all(order.index(need) < order.index(t) for t in order for need in found.needs[t])


def test_the_first_stages_of_a_sweep_are_the_levels(store: Store) -> None:
    drawn = stages(SWEEP, store)
    for label, trials in (
        ("victims", expansion.victims(SWEEP)),
        ("self-poisoned copies", expansion.copies(SWEEP)),
    ):
        (strategy,) = next(drawn)
        assert strategy.label == label
        asked = [strategy.ask() for _ in range(strategy.size)]
        assert [t.id for t in asked if t] == [t.id for t in trials]


def test_a_sweep_of_trainings_has_one_stage_and_a_direct_one_no_copies(store: Store) -> None:
    training = replace(SWEEP, game="training")
    assert [[s.label for s in stage] for stage in stages(training, store)] == [["victims"]]
    direct = list(stages(replace(SWEEP, game="robustness"), store))
    assert [s.label for s in direct[0]] == ["victims"] and len(direct) == 2
