"""The waves of a sweep: victims, self-poisoned copies, configurations, and then the winners once more."""

from collections.abc import Iterator
from typing import Any

from results.store import Store
from sweep.planning import trials as plan
from sweep.planning.detection import detector_tuning
from sweep.planning.evaluation import judged
from sweep.planning.search_feed import News
from sweep.planning.strategy import ListWalk, Walk
from sweep.spec.sweep import Defense, Sweep
from trials.spec import Choice, Trial, derive


def waves(sweep: Sweep, store: Store) -> Iterator[list[Walk]]:
    """The walks of each wave; a wave is drawn when the one before it is done, so that it can read its results."""
    yield [ListWalk("victims", plan.victims(sweep))]
    if sweep.game == "training":
        return
    if sweep.game == "tuning":
        yield [ListWalk("self-poisoned copies", plan.copies(sweep))]
    yield tuned_walks(sweep, store)
    if sweep.game == "tuning":
        tuned = plan.own(sweep, store.records(sweep.name, "tuning"))
        yield [ListWalk("detectors on copies", detector_tuning(sweep, tuned))]
        yield [ListWalk("the winners", judged(sweep, tuned, store.records(sweep.name, "detector_tuning")))]


def tuned_walks(sweep: Sweep, store: Store) -> list[Walk]:
    """One walk a defense and cell."""
    news = News(sweep, store) if any(d.walk == "search" for d in sweep.defenses) else None
    return [walk_of(sweep, defense, cell, news) for cell in plan.cells(sweep) for defense in sweep.defenses]


def walk_of(sweep: Sweep, defense: Defense, cell: plan.Cell, news: News | None) -> Walk:
    """The walk of a defense's configurations in a cell; a search needs ``news``."""

    def of(choice: Choice) -> list[Trial]:
        return plan.trials_of(sweep, cell, choice)

    label = defense.name
    if defense.walk != "search" or news is None:
        return ListWalk(label, [t for c in plan.configurations(sweep, defense) for t in of(c)])
    from sweep.planning.optuna_search import SearchWalk  # noqa: PLC0415  (loads optuna)

    space = plan.space_of(defense)

    def settled(ask: Any) -> Choice:
        return plan.settled(defense, space(ask, defense.profile))

    seed = derive(sweep.seeds[0], cell.victim.id, str(cell.trusted), defense.name)
    inbox = news.inbox(cell, defense.name)
    return SearchWalk(label, defense, settled, of, sweep.rule, sweep.delta, inbox, seed)
