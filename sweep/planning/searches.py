"""The searches of a sweep of attacks without a trigger: which recipes and filters, on which
victims, and the trials of each setting that is asked for.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from results.selection.grouping import KEY, attack_of
from results.selection.labels import value
from search_spaces._ask import Ask
from search_spaces._strategies import one_at_a_time
from sweep.planning import expansion, filtering
from sweep.planning.targeted import own_games
from sweep.spec.filters import Filter
from sweep.spec.recipes import Recipe
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.dependencies import control_of, filtering_of, self_brew_of, targeted_of, training_of
from trials.spec import MethodConfig, SpecError, Trial, Victim, derive

_ANY = MethodConfig("")


@dataclass(frozen=True, slots=True)
class Search:
    """One recipe or filter whose settings are searched.

    Attributes:
        table: how.
        victims: those of one attack, data set and model, of all keys and seeds; of a filter, also
            trained by one recipe.
        own: how defenders brew against themselves, who search by that; None: the judge searches, by
            what the attacker's poison does.
        trusted: r of the images that a filter is given, and defenders have.
    """

    table: Recipe | Filter
    victims: tuple[Victim, ...]
    own: MethodConfig | None
    trusted: float

    def asked(self, ask: Ask) -> MethodConfig:
        """A point of the space."""
        if isinstance(self.table, Recipe):
            return self.table.asked(ask)
        return filtering.asked(self.table, ask)

    def stages_of(self, sweep: Sweep, config: MethodConfig) -> list[list[Trial]]:
        """The trials of a point, each stage of them to run after the one before: what trains the
        victims, and then what measures them.
        """
        if isinstance(self.table, Recipe):
            found = [catalog.resolve_victim(replace(v, training=config)) for v in self.victims]
            both = ((v, control_of(v)) for v in found)
            made = [map(training_of, chain.from_iterable(both))]
            brewing = list(itertools.product(found, sweep.seeds))
        else:
            given, method = filtering.parted(self.table, config)
            found = filtering.by_settings(sweep, given, self.victims, [self.trusted], [method])
            made = [map(filtering_of, found), map(training_of, found)]
            brewing = [(v, v.filter.seed) for v in found if v.filter]
        measured = list(map(targeted_of, found))
        if self.own:
            measured += [self_brew_of(v, self.own, self.trusted, seed) for v, seed in brewing]
        return list(map(expansion.distinct, [*made, measured]))

    def seed(self, sweep: Sweep) -> int:
        """The sampler's."""
        kind = "recipe" if isinstance(self.table, Recipe) else "filter"
        return derive(sweep.seeds[0], kind, self.table.name)


def searches(sweep: Sweep) -> list[Search]:
    """Every search of the sweep. Raises SpecError for one that has one setting alone."""
    if not (ways := list[MethodConfig | None](own_games(sweep))):
        ways = [None]
    found = list[Search]()
    for recipe in (r for r in sweep.recipes if r.strategy == "search"):
        given = sweep.trusted if any(ways) else sweep.trusted[:1]  # a recipe is given no images
        axes = itertools.product(_alike(sweep.victims), ways, given)
        found += [Search(recipe, group, own, r) for group, own, r in axes]
    for table in (f for f in sweep.filters if f.strategy == "search"):
        groups = _alike(filtering.looked_at(sweep, table), trained=True)
        axes = itertools.product(groups, ways, sweep.trusted)
        found += [Search(table, group, own, r) for group, own, r in axes]
    for search in {s.table.name: s for s in found}.values():
        _several(search)
    return found


def _several(search: Search) -> None:
    """Raises SpecError where nothing is left to ask for."""
    if len(one_at_a_time(lambda ask, _: search.asked(ask), search.table.profile)) > 1:
        return
    kind, name = ("recipe" if isinstance(search.table, Recipe) else "filter"), search.table.name
    also = ", or give reject two shares" if kind == "filter" else ""
    raise SpecError(
        f'{kind} {name}: strategy = "search" has one setting alone to ask for: leave a setting of '
        f'its space out of fixed{also}, or write strategy = "grid".'
    )


def labels(found: Sequence[Search]) -> list[str]:
    """What each search is called: where a table has several, with what its victims alone have."""
    said = []
    for search in found:
        others = [o for o in found if o.table == search.table]
        told = list[str]()
        groups = map(_parts, others)
        for own, *rest in zip_longest(_parts(search), *groups, fillvalue=_ANY):
            told += _telling(own, rest)
        if any(o.trusted != search.trusted for o in others):
            told.append(f"r = {value(search.trusted)}")
        said.append(", ".join([search.table.name, "searched", *filter(None, told)]))
    return said


def _parts(search: Search) -> list[MethodConfig]:
    victim = search.victims[0]
    trained = _ANY if isinstance(search.table, Recipe) else victim.training
    return [victim.dataset, victim.model, trained, search.own or _ANY, *victim.attacks]


def _telling(own: MethodConfig, others: Sequence[MethodConfig]) -> list[str]:
    """The name and the settings that tell a method apart from others in its place."""
    alike = [other for other in others if other.name == own.name]
    told = [own.name] if len(alike) < len(others) else []
    for key, given in own.params.items():
        if key not in KEY and any(other.params.get(key) != given for other in alike):
            told.append(f"{key} = {value(given)}")
    return told


def _alike(victims: Iterable[Victim], *, trained: bool = False) -> list[tuple[Victim, ...]]:
    """Victims in groups that differ in key and seed alone; each once whatever it is trained by, or
    (``trained``) in groups of one recipe.
    """
    groups: dict[str, dict[str, Victim]] = {}
    for victim in victims:
        one = victim if trained else replace(victim, training=_ANY)
        kind = f"{replace(one, attacks=(), seed=0).id} {attack_of(victim)}"
        groups.setdefault(kind, {}).setdefault(one.id, victim)
    return [tuple(group.values()) for group in groups.values()]
