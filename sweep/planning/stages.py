"""The stages of a sweep: victims, self-poisoned copies, configurations, and then the winners once
more.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

from results.store import Store
from sweep.planning import expansion, filtering, searches, targeted
from sweep.planning.detection import detector_tuning
from sweep.planning.evaluation import judged
from sweep.planning.search_feed import SearchFeed
from sweep.planning.strategy import ListStrategy, Strategy
from sweep.spec.filters import TARGETED
from sweep.spec.games import NEED_NO_DEFENSES
from sweep.spec.sweep_file import Defense, Sweep
from trials.dependencies import dependencies, graph
from trials.self_poisoning import HARDEST, kind_of
from trials.spec import MethodConfig, Record, Trial, derive

_BREWS = ("brewed against oneself", "brewed against oneself, filtered")
_LABELS = {"training": "victims", "self_poison": "self-poisoned copies"}


def stages(sweep: Sweep, store: Store) -> Iterator[list[Strategy]]:
    """The strategies of each stage; a stage is drawn when the one before it is done, so that it can
    read its results.

    What configurations build on is known at once: those stages are the levels of its graph.
    """
    if sweep.game == TARGETED:
        yield from targeted_stages(sweep)
        return
    yield from made_first(sweep)
    if sweep.game == "filtering":
        yield from filtered_stages(sweep)
    if sweep.game in NEED_NO_DEFENSES:
        return
    yield tuned_strategies(sweep, store)
    if sweep.game == "tuning":
        tuned = expansion.own(sweep, store.records(sweep.name, "tuning"))
        yield [ListStrategy("detectors on copies", detector_tuning(sweep, tuned))]
        yield [
            ListStrategy(
                "the winners", judged(sweep, tuned, store.records(sweep.name, "detector_tuning"))
            )
        ]


def filtered_stages(sweep: Sweep) -> Iterator[list[Strategy]]:
    """The stages of data filters: models of sets with the defender's own poison, where that is
    asked for; each filter's first setting, which keeps what its others read; the
    others; the victims trained on what is kept; and their repairs, where the sweep has defenses.
    """
    victims = list(chain.from_iterable(filtering.filtered(sweep, f) for f in sweep.filters))
    first, rest = filtering.first_and_rest(filtering.scorings(victims))
    if own := filtering.own_sets(victims):
        yield [ListStrategy("training sets with the defender's poison", own)]
    yield [ListStrategy("filters", first)]
    yield [ListStrategy("filters, other settings", rest)]
    yield [ListStrategy("victims, trained on what is kept", filtering.trainings(victims))]
    if sweep.defenses:
        yield [ListStrategy(d.name, filtering.repairs(sweep, d)) for d in sweep.defenses]


def targeted_stages(sweep: Sweep) -> Iterator[list[Strategy]]:
    """The stages of attacks without a trigger: controls, and of each poison one victim, which makes
    it; its other victims; those of filtered training sets; what they were misled to; and
    searches of settings of recipes and filters.
    """
    first, rest = targeted.first_and_rest(sweep)
    yield [ListStrategy("controls", targeted.controls(sweep)), ListStrategy("victims", first)]
    yield [ListStrategy("victims of poison that is there", rest)]
    if sweep.filters:
        yield from filtered_stages(sweep)
    for label, trials in zip(_BREWS, targeted.own_brews(sweep), strict=True):
        if trials:
            yield [ListStrategy(label, trials)]
    yield [ListStrategy("targeted images", targeted.measured(sweep))]
    if found := targeted_searches(sweep):
        yield found


def targeted_searches(sweep: Sweep) -> list[Strategy]:
    """The strategies that search settings of recipes and filters."""
    if not (found := searches.searches(sweep)):
        return []
    from sweep.planning.targeted_search import (  # noqa: PLC0415  (loads optuna)
        DEFENDERS,
        JUDGES,
        TargetedSearch,
    )

    return [
        TargetedSearch(
            label,
            search.table,
            search.asked,
            partial(search.stages_of, sweep),
            DEFENDERS if search.own else JUDGES,
            search.seed(sweep),
        )
        for search, label in zip(found, searches.labels(found), strict=True)
    ]


def answered(search: Strategy, store: Store) -> Iterator[Record]:
    """What the store has of a search's trials, in their order, up to one that has not run."""
    failed = set[str]()
    while trial := search.ask():
        record = store.get(trial.id)
        if record is None and any(t.id in failed for t in dependencies(trial)):
            record = Record(trial=trial, status="failed", error="a victim that it needs failed")
        if record is None:
            return
        if record.status == "failed":
            failed.add(trial.id)
        search.tell(record)
        yield record


def made_first(sweep: Sweep) -> Iterator[list[Strategy]]:
    """The stages of what configurations build on: victims, and copies of them, of which those that
    may take several times as long as others are begun first.
    """
    copies = expansion.copies(sweep) if sweep.game == "tuning" else []
    for level in graph([*expansion.victims(sweep), *copies]).levels():
        yield [ListStrategy(_LABELS[level[0].game.name], sorted(level, key=_turn))]


def _turn(trial: Trial) -> int:
    """When it is begun: the hardest kinds of trigger first."""
    params = trial.game.params
    kind = kind_of(str(params["attack"]), int(params["copy"])) if "copy" in params else ""
    return HARDEST.index(kind) if kind in HARDEST else len(HARDEST)


def tuned_strategies(sweep: Sweep, store: Store) -> list[Strategy]:
    """One strategy for each defense and tuning task."""
    feed = SearchFeed(sweep, store) if any(d.strategy == "search" for d in sweep.defenses) else None
    pairs = itertools.product(expansion.tasks(sweep), sweep.defenses)
    return [strategy_of(sweep, defense, task, feed) for task, defense in pairs]


def strategy_of(
    sweep: Sweep, defense: Defense, task: expansion.TuningTask, feed: SearchFeed | None
) -> Strategy:
    """The strategy of a defense's configurations for a task; a search needs ``feed``."""

    def of(config: MethodConfig) -> list[Trial]:
        return expansion.trials_of(sweep, task, config)

    label = defense.name
    if defense.strategy != "search" or feed is None:
        configs = expansion.configurations(sweep, defense)
        return ListStrategy(label, list(chain.from_iterable(map(of, configs))))
    from sweep.planning.optuna_search import SearchStrategy  # noqa: PLC0415  (loads optuna)

    space = expansion.space_of(defense)

    def settled(ask: Any) -> MethodConfig:
        return expansion.settled(defense, space(ask, defense.profile))

    seed = derive(sweep.seeds[0], task.victim.id, str(task.trusted), defense.name)
    reader = feed.reader(task, defense.name)
    return SearchStrategy(label, defense, settled, of, sweep.rule, sweep.delta, reader, seed)
