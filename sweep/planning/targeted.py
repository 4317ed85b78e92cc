"""The trials of attacks without a trigger: victims, their controls, and what misleads them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from results.selection.grouping import KEY, attack_of
from results.selection.labels import value
from sweep.planning import expansion, filtering
from sweep.spec.recipes import Recipe
from sweep.spec.sweep_file import Sweep
from trials import catalog
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
    games = [MethodConfig("self_brew", own) for own in sweep.self_poisoning if own]
    axes = itertools.product(sweep.victims, games, sweep.trusted, sweep.seeds)
    plain = [self_brew_of(*one) for one in axes]
    filtered = [
        self_brew_of(victim, game, victim.filter.trusted, victim.filter.seed)
        for victim, game in itertools.product(_filtered(sweep), games)
        if victim.filter
    ]
    return expansion.distinct(plain), expansion.distinct(filtered)


def _filtered(sweep: Sweep) -> list[Victim]:
    return list(chain.from_iterable(filtering.filtered(sweep, f) for f in sweep.filters))


def controls(sweep: Sweep) -> list[Trial]:
    """The trials that train the victims' controls: one for the poison of all keys and budgets."""
    return expansion.distinct(training_of(control_of(v)) for v in sweep.victims)


def searched(sweep: Sweep) -> list[tuple[Recipe, list[Victim]]]:
    """Each recipe whose settings are searched, with victims to be trained by it: those of one
    attack, data set and model, of all keys and seeds.
    """
    asked = [recipe for recipe in sweep.recipes if recipe.strategy == "search"]
    return list(itertools.product(asked, _alike(sweep.victims)))


def search_label(sweep: Sweep, recipe: Recipe, victims: Sequence[Victim]) -> str:
    """What a search is called: where a recipe has several, with what its victims alone have."""
    told = list[str]()
    groups = [_parts(group[0]) for group in _alike(sweep.victims)]
    for own, *others in zip_longest(_parts(victims[0]), *groups, fillvalue=MethodConfig("")):
        told += _telling(own, others)
    return ", ".join([recipe.name, "searched", *filter(None, told)])


def _parts(victim: Victim) -> list[MethodConfig]:
    return [victim.dataset, victim.model, *victim.attacks]


def _telling(own: MethodConfig, others: Sequence[MethodConfig]) -> list[str]:
    """The name and the settings that tell a method apart from others in its place."""
    alike = [other for other in others if other.name == own.name]
    told = [own.name] if len(alike) < len(others) else []
    for key, given in own.params.items():
        if key not in KEY and any(other.params.get(key) != given for other in alike):
            told.append(f"{key} = {value(given)}")
    return told


def trained(victims: Iterable[Victim], config: MethodConfig) -> list[Victim]:
    """The victims, each trained so."""
    return [catalog.resolve_victim(replace(v, training=config)) for v in victims]


def trainings(victims: Iterable[Victim]) -> list[Trial]:
    """The trials that train the victims and their controls."""
    both = ((v, control_of(v)) for v in victims)
    return expansion.distinct(map(training_of, chain.from_iterable(both)))


def _alike(victims: Iterable[Victim]) -> list[list[Victim]]:
    """Victims, each once whatever it is trained by, in groups that differ in key and seed alone."""
    groups: dict[str, dict[str, Victim]] = {}
    for victim in victims:
        plain = replace(victim, training=MethodConfig(""))
        kind = f"{replace(plain, attacks=(), seed=0).id} {attack_of(victim)}"
        groups.setdefault(kind, {}).setdefault(plain.id, victim)
    return [list(group.values()) for group in groups.values()]


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
