"""The trials of attacks without a trigger: victims, their controls, and what misleads them."""

import itertools
from dataclasses import replace
from itertools import chain

from sweep.planning import expansion, filtering
from sweep.spec.sweep_file import Sweep
from trials.architecture import surrogate_of
from trials.dependencies import control_of, self_brew_of, targeted_of, training_of
from trials.spec import MethodConfig, Trial, Victim


def measured(sweep: Sweep) -> list[Trial]:
    """The trials that say whether the attacks succeeded, one a victim, as it is and as each filter
    leaves its training set.
    """
    return expansion.distinct(map(targeted_of, [*sweep.victims, *_filtered(sweep)]))


def own_brews(sweep: Sweep) -> tuple[list[Trial], list[Trial]]:
    """The trials in which defenders brew against themselves: with each recipe, and with each
    filter, which look into the models of the first.
    """
    games = own_games(sweep)
    axes = itertools.product(sweep.victims, games, sweep.trusted, sweep.seeds)
    plain = [self_brew_of(*one) for one in axes]
    filtered = [
        self_brew_of(victim, game, victim.filter.trusted, victim.filter.seed)
        for victim, game in itertools.product(_filtered(sweep), games)
        if victim.filter
    ]
    return expansion.distinct(plain), expansion.distinct(filtered)


def own_games(sweep: Sweep) -> list[MethodConfig]:
    """How defenders brew against themselves; none where the sweep has no such table."""
    return [MethodConfig("self_brew", own) for own in sweep.self_poisoning if own]


def _filtered(sweep: Sweep) -> list[Victim]:
    return list(chain.from_iterable(filtering.filtered(sweep, f) for f in sweep.filters))


def controls(sweep: Sweep) -> list[Trial]:
    """The trials that train the victims' controls: one for the poison of all keys and budgets."""
    return expansion.distinct(training_of(control_of(v)) for v in sweep.victims)


def first_and_rest(sweep: Sweep) -> tuple[list[Trial], list[Trial]]:
    """The trainings of one victim for each poison, which make it, and of the others."""
    first: dict[str, Trial] = {}
    rest = []
    for trial in expansion.victims(sweep):
        victim = trial.victim
        surrogate = surrogate_of(victim, victim.attacks[0])  # victims of others share its poison
        key = replace(victim, seed=0, model=surrogate).id
        if key in first:
            rest.append(trial)
        first.setdefault(key, trial)
    return list(first.values()), rest
