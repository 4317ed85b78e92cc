"""The trials of data filters: each scores a victim's training set, and the victim is trained again
on what is kept, and then repaired where the sweep has defenses too.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from search_spaces._ask import Ask, held, number, option
from search_spaces._strategies import grid, thin
from sweep.planning import expansion
from sweep.spec.filters import GAME, Filter
from sweep.spec.sweep_file import Defense, Sweep
from trials import catalog
from trials.dependencies import filtering_of, own_rows_of, training_of, unfiltered
from trials.spec import (
    BUDGET,
    OWN,
    RECALL,
    Filtering,
    MethodConfig,
    Scalar,
    Trial,
    Victim,
    content_id,
)


def points(given: Filter) -> list[MethodConfig]:
    """The settings that a filter is run with as far as they are known, resolved, the paper's first;
    of a search that one.
    """
    every = grid(partial(_space, given, given.fixed), given.profile)
    chosen = thin(every, 1 if given.strategy == "search" else given.limit, 0)
    return expansion.distinct_configs(_settled(given, p) for p in chosen)


def _space(given: Filter, fixed: Mapping[str, Scalar], ask: Ask, profile: str) -> MethodConfig:
    """The filter's space, of which nothing is asked that is fixed."""
    space: Callable[..., MethodConfig] = catalog.find("filter_spaces", given.name)
    return space(held(ask, fixed), profile)


def _settled(given: Filter, point: MethodConfig) -> MethodConfig:
    return catalog.resolve("filters", MethodConfig(point.name, {**point.params, **given.fixed}))


def asked(given: Filter, ask: Ask) -> MethodConfig:
    """A point of the filter's space with the fixed settings, resolved, and besides these how much
    is removed: ``reject``, between the least and the greatest share where all are shares, and
    ``quota``. For what has one value nothing is asked, nor for what changes nothing: settings that
    the filter's own rule alone reads where another rule is asked for, and ``quota`` with that rule.
    """
    shares = [r for r in given.reject if not isinstance(r, str)]
    how: dict[str, Scalar] = {"reject": given.reject[0], "quota": given.quota[0]}
    if len(given.reject) > 1 and len(shares) == len(given.reject):
        how["reject"] = number(ask, "reject", *shares)
    elif len(given.reject) > 1:
        how["reject"] = option(ask, "reject", *map(str, given.reject))
    fixed = dict(given.fixed)
    if how["reject"] != OWN:
        first, unread = points(given)[0], catalog.describe("filters", given.name).rejects_by
        fixed = {k: v for k, v in first.params.items() if k in unread} | fixed
        if len(given.quota) > 1:
            how["quota"] = option(ask, "quota", *given.quota)
    point = _settled(given, _space(given, fixed, ask, given.profile))
    return MethodConfig(point.name, {**point.params, **how})


def parted(given: Filter, point: MethodConfig) -> tuple[Filter, MethodConfig]:
    """Of such a point, the filter that removes so much, and its settings."""
    params = dict(point.params)
    reject, quota = params.pop("reject"), str(params.pop("quota"))
    by = {str(r): r for r in given.reject}.get(str(reject), reject)  # a share among words
    assert isinstance(by, str | float)
    return replace(given, reject=(by,), quota=(quota,)), MethodConfig(point.name, params)


def looked_at(sweep: Sweep, given: Filter) -> list[Victim]:
    """The victims whose training sets the filter looks at."""
    return [v for v in sweep.victims if not given.recipes or v.training.name in given.recipes]


def filtered(sweep: Sweep, given: Filter) -> list[Victim]:
    """The victims as a filter leaves their training sets: each setting, rejection, r and seed."""
    if given.strategy == "search":  # what it asks for first
        given = replace(given, reject=given.reject[:1], quota=given.quota[:1])
    return by_settings(sweep, given, looked_at(sweep, given), sweep.trusted, points(given))


def by_settings(
    sweep: Sweep,
    given: Filter,
    victims: Iterable[Victim],
    trusted: Iterable[float],
    methods: Iterable[MethodConfig],
) -> list[Victim]:
    """These victims, each r, seed of the sweep and rejection, by these settings of the filter."""
    own = [own_poison(p) for p in sweep.self_poisoning] if sweep.game == GAME else [None]
    axes = itertools.product(
        victims, trusted, sweep.seeds, methods, own, rejections(given, sweep.delta)
    )
    found = []
    for victim, r, seed, method, planted, (reject, threshold) in axes:
        filtering = Filtering(
            method=method,
            reject=reject,
            trusted=r,
            seed=seed,
            self_poisoning=planted,
            threshold=threshold,
        )
        found.append(catalog.resolve_victim(replace(victim, filter=filtering)))
    return list({v.id: v for v in found}.values())


def own_poison(given: Mapping[str, Any]) -> MethodConfig | None:
    """How the defender poisons the training set, resolved; None where the table says nothing."""
    return catalog.resolve("games", MethodConfig("self_poison_data", given)) if given else None


def rejections(given: Filter, delta: float) -> list[tuple[float | str, dict[str, Scalar]]]:
    """How much is removed: rules, each with the settings that it has; ``delta`` is the clean
    accuracy that may be lost.
    """
    found = list[tuple[float | str, dict[str, Scalar]]]()
    for reject, quota, beta in itertools.product(given.reject, given.quota, given.beta):
        ranking: dict[str, Scalar] = {} if quota == "global" else {"quota": quota, "cap": given.cap}
        of_rule: dict[float | str, dict[str, Scalar]] = {
            OWN: {},
            RECALL: {**ranking, "beta": beta},
            BUDGET: {**ranking, "delta": delta},
        }
        found.append((reject, of_rule.get(reject, ranking)))
    return found


def own_sets(victims: Iterable[Victim]) -> list[Trial]:
    """The trials that train on a set with the defender's own poison in it."""
    asked = (v for v in victims if v.filter and v.filter.self_poisoning)
    return expansion.distinct(map(own_rows_of, asked))


def scorings(victims: Iterable[Victim]) -> list[Trial]:
    """The trials that score the training sets of filtered victims."""
    return expansion.distinct(map(filtering_of, victims))


def trainings(victims: Iterable[Victim]) -> list[Trial]:
    """The trials that train filtered victims on what is kept."""
    return expansion.distinct(map(training_of, victims))


def repairs(sweep: Sweep, defense: Defense) -> list[Trial]:
    """The trials that repair attacked victims, those trained on all rows and those trained on what
    each filter keeps, by every setting of a defense.

    A filtered victim is repaired with the r and the seed of its filter. Which settings of a filter
    are worth a repair could only the judge say, so all are repaired.
    """
    attacked = [v for v in sweep.victims if v.attacks]
    configs = expansion.configurations(sweep, defense)
    found = list[Trial]()
    for victim, r, config in itertools.product(attacked, sweep.trusted, configs):
        found += expansion.real(sweep, victim, r, config, 0)
    for given in sweep.filters:
        kept = (v for v in filtered(sweep, given) if v.attacks)
        for victim, config in itertools.product(kept, configs):
            assert victim.filter is not None
            trials = expansion.real(sweep, victim, victim.filter.trusted, config, 0)
            found += [t for t in trials if t.seed == victim.filter.seed]
    return expansion.distinct(found)


def own_repairs(
    sweep: Sweep, victims: Iterable[Victim], defense: Defense | None = None
) -> list[Trial]:
    """The trials that repair the models of what filters keep of the set with the defender's own
    poison, by every setting of a defense; without one, those of the filters alone.
    """
    none = [catalog.resolve("defenses", MethodConfig("none"))]
    configs = expansion.configurations(sweep, defense) if defense else none
    params = {"delta": sweep.delta, **expansion.every(sweep)}
    game = catalog.resolve("games", MethodConfig("own_repair", params))
    found = []
    for victim, config in itertools.product(victims, configs):
        assert victim.filter is not None
        r, seed = victim.filter.trusted, victim.filter.seed
        found.append(Trial(game=game, victim=victim, method=config, trusted=r, seed=seed))
    return expansion.distinct(found)


def first_and_rest(trials: Iterable[Trial]) -> tuple[list[Trial], list[Trial]]:
    """One trial for each filter on each training set, and the others, which read what it keeps."""
    first: dict[str, Trial] = {}
    rest = []
    for trial in trials:
        filtering = trial.victim.filter
        assert filtering is not None
        own = content_id(filtering.self_poisoning.identity() if filtering.self_poisoning else {})
        where = f"{unfiltered(trial.victim).id} {trial.trusted} {trial.seed} {own}"
        key = f"{where} {filtering.method.name}"
        if key in first:
            rest.append(trial)
        first.setdefault(key, trial)
    return list(first.values()), rest
