"""The trials of attacks without a trigger: victims, their controls, and what misleads them."""

from dataclasses import replace
from itertools import chain

from sweep.planning import expansion, filtering
from sweep.spec.sweep_file import Sweep
from trials.dependencies import control_of, targeted_of, training_of
from trials.spec import Trial


def measured(sweep: Sweep) -> list[Trial]:
    """The trials that say whether the attacks succeeded, one a victim, as it is and as each filter
    leaves its training set.
    """
    filtered = chain.from_iterable(filtering.filtered(sweep, f) for f in sweep.filters)
    return expansion.distinct(map(targeted_of, chain(sweep.victims, filtered)))


def controls(sweep: Sweep) -> list[Trial]:
    """The trials that train the victims' controls: one for the poison of all keys and budgets."""
    return expansion.distinct(training_of(control_of(v)) for v in sweep.victims)


def first_and_rest(sweep: Sweep) -> tuple[list[Trial], list[Trial]]:
    """The trainings of one victim for each poison, which make it, and of the others."""
    first: dict[str, Trial] = {}
    rest = []
    for trial in expansion.victims(sweep):
        key = replace(trial.victim, seed=0).id
        if key in first:
            rest.append(trial)
        first.setdefault(key, trial)
    return list(first.values()), rest
