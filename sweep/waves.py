"""The waves of a sweep: victims, self-poisoned copies, configurations, and then the winners once more."""

from collections.abc import Iterator
from typing import Any

from results.store import Store
from sweep import plan
from sweep.after import judged
from sweep.config import Defense, Sweep
from sweep.detecting import detector_tuning
from sweep.walks import ListWalk, Walk
from trials.spec import Choice, Record, Trial, derive


def waves(sweep: Sweep, store: Store) -> Iterator[list[Walk]]:
    """The walks of each wave; a wave is drawn when the one before it is done, so that it can read its results."""
    yield [ListWalk("victims", plan.victims(sweep))]
    if sweep.game == "training":
        return
    if sweep.game == "tuning":
        yield [ListWalk("self-poisoned copies", plan.copies(sweep))]
    yield [walk_of(sweep, defense, cell, store) for cell in plan.cells(sweep) for defense in sweep.defenses]
    if sweep.game == "tuning":
        tuned = plan.own(sweep, store.records(sweep.name, "tuning"))
        yield [ListWalk("detectors on copies", detector_tuning(sweep, tuned))]
        yield [ListWalk("the winners", judged(sweep, tuned, store.records(sweep.name, "detector_tuning")))]


def walk_of(sweep: Sweep, defense: Defense, cell: plan.Cell, store: Store) -> Walk:
    def of(choice: Choice) -> list[Trial]:
        return plan.trials_of(sweep, cell, choice)

    label = defense.name
    if defense.walk != "search":
        return ListWalk(label, [t for c in plan.configurations(sweep, defense) for t in of(c)])
    from sweep.search import SearchWalk  # noqa: PLC0415  (loads optuna)

    space = plan.space_of(defense)
    where = (cell.victim.id, cell.trusted, plan.key_of(cell.plant))
    seen: set[str] = set()

    def mine(records: list[Record]) -> list[Record]:
        seen.update(r.trial.id for r in records)
        return [
            record
            for record in plan.own(sweep, records)
            if record.trial.method and record.trial.method.name == defense.name
            if (record.trial.victim.id, record.trial.trusted, plan.key_of(record.trial.plant)) == where
        ]

    def news() -> list[Record]:
        fresh = sorted(store.finished(sweep.name, sweep.game) - seen)
        return mine([r for r in map(store.get, fresh) if r is not None])

    def settled(ask: Any) -> Choice:
        return plan.settled(defense, space(ask, defense.profile))

    seed = derive(sweep.seeds[0], cell.victim.id, str(cell.trusted), defense.name)
    history = mine(store.records(sweep.name, sweep.game))
    return SearchWalk(label, defense, settled, of, sweep.rule, sweep.delta, history, seed, news)
