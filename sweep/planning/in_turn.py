"""The stages of a sweep that has to end in time: the defenses take turns, a few configurations
each time, until the time is up or the answer cannot get better.
"""

import time
from collections.abc import Iterator
from itertools import chain, islice, product, takewhile, zip_longest

from results.selection.winners import CONTROLS, REPAIRED, Winner, winners
from results.stats.intervals import wilson
from results.store import Store
from sweep.planning import expansion
from sweep.planning.stages import made_first
from sweep.planning.strategy import ListStrategy, Strategy
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial


def in_turn(sweep: Sweep, store: Store, minutes: float, workers: int) -> Iterator[list[Strategy]]:
    """What configurations build on, then what is left without any repair, then each defense's first
    configuration, then each one's second, and so on.

    A defense of which nothing is worth its time costs only what it was given until then. What is
    running when the time is up is finished. Of the time a third is the defenses' own, however long
    all that they build on took, the search for a trigger in the given model included: else
    nothing would come of it.

    Args:
        sweep: of grids; its defenses in the order in which they are tried.
        store: what has finished decides whether to go on.
        minutes: from the first stage on; infinity for as long as it takes.
        workers: trials that run at once; between so many the time is looked at.
    """
    ends = time.monotonic() + 60 * minutes
    yield from made_first(sweep)
    turns = _turns(sweep)
    # the first trial on the given model is the one that looks for a trigger in it
    if first := len(list(takewhile(_leaves_alone, turns))):
        first = max(first, workers)
        yield [ListStrategy("defenses in turn", turns[:first])]
    ends = max(ends, time.monotonic() + 60 * minutes / 3)
    rows = iter(turns[first:])
    while time.monotonic() < ends and not settled(store.records(sweep.name, "tuning"), sweep.rule):
        some = list(islice(rows, max(1, workers)))
        if not some:
            return
        yield [ListStrategy("defenses in turn", some)]


def settled(records: list[Record], rule: str) -> bool:
    """True once a defense that is no control leaves so little within Δ, of planted backdoors and,
    where that counts, of the reconstructed trigger, that the whole interval is below what counts as
    repaired.
    """
    found = (w for w in winners(records, rule) if w.defense not in CONTROLS and w.within_delta)
    return any(_surely_repaired(w) for w in found)


def _surely_repaired(w: Winner) -> bool:
    left = max([w.eta, *w.kinds.values()])
    return bool(w.n_triggered) and wilson(left, w.n_triggered or 1).high <= REPAIRED


def _leaves_alone(trial: Trial) -> bool:
    return trial.method is not None and trial.method.name == "none"


def _turns(sweep: Sweep) -> list[Trial]:
    """All configurations' trials, the defenses by turns."""
    asked = sorted(sweep.defenses, key=lambda defense: defense.name != "none")
    columns = [expansion.configurations(sweep, defense) for defense in asked]
    rows = chain.from_iterable(zip_longest(*columns))
    pairs = product(filter(None, rows), expansion.tasks(sweep))
    found = (expansion.trials_of(sweep, task, config) for config, task in pairs)
    return list(chain.from_iterable(found))
