"""The trials of data filters: each scores a victim's training set, and the victim is trained again
on what is kept.
"""

import itertools
from collections.abc import Iterable
from dataclasses import replace

from search_spaces._strategies import grid, thin
from sweep.planning import expansion
from sweep.spec.filters import Filter
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.dependencies import filtering_of, training_of, unfiltered
from trials.spec import Filtering, MethodConfig, Trial, Victim


def points(given: Filter) -> list[MethodConfig]:
    """The settings that a filter is run with, resolved, the paper's first."""
    every = grid(catalog.find("filter_spaces", given.name), given.profile)
    chosen = thin(every, given.limit, 0)
    fixed = [MethodConfig(p.name, {**p.params, **given.fixed}) for p in chosen]
    return expansion.distinct_configs(catalog.resolve("filters", c) for c in fixed)


def filtered(sweep: Sweep, given: Filter) -> list[Victim]:
    """The victims as a filter leaves their training sets: each setting, rejection, r and seed."""
    axes = itertools.product(sweep.victims, sweep.trusted, sweep.seeds, points(given), given.reject)
    found = []
    for victim, trusted, seed, method, reject in axes:
        filtering = Filtering(method=method, reject=reject, trusted=trusted, seed=seed)
        found.append(catalog.resolve_victim(replace(victim, filter=filtering)))
    return found


def scorings(victims: Iterable[Victim]) -> list[Trial]:
    """The trials that score the training sets of filtered victims."""
    return expansion.distinct(map(filtering_of, victims))


def trainings(victims: Iterable[Victim]) -> list[Trial]:
    """The trials that train filtered victims on what is kept."""
    return expansion.distinct(map(training_of, victims))


def first_and_rest(trials: Iterable[Trial]) -> tuple[list[Trial], list[Trial]]:
    """One trial for each filter on each training set, and the others, which read what it keeps."""
    first: dict[str, Trial] = {}
    rest = []
    for trial in trials:
        filtering = trial.victim.filter
        assert filtering is not None
        key = f"{unfiltered(trial.victim).id} {trial.trusted} {trial.seed} {filtering.method.name}"
        if key in first:
            rest.append(trial)
        first.setdefault(key, trial)
    return list(first.values()), rest
