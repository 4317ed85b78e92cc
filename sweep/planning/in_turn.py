"""The stages of a sweep that has to end in time: the defenses take turns, a few configurations
each time, until the time is up or the answer cannot get better.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from results.selection.winners import CONTROLS, REPAIRED, Winner, winners
from results.stats.intervals import wilson
from results.store import Store
from sweep.planning import expansion
from sweep.planning.stages import made_first
from sweep.planning.strategy import ListStrategy, Strategy
from sweep.spec.sweep_file import Sweep
from trials.spec import MethodConfig, Record, Trial

LOWER, LOWERED = 3, 2  # a rate that costs too much is divided by 3, at most twice


def in_turn(sweep: Sweep, store: Store, minutes: float, workers: int) -> Iterator[list[Strategy]]:
    """What configurations build on, then what is left without any repair, then each defense's first
    configuration, then each one's second, and so on.

    Where a configuration costs the given model more than the rule allows at all of its steps, the
    same at a lower learning rate is the defense's next one: what a rate costs hangs on the network,
    and no grid fits all.

    A defense of which nothing is worth its time costs only what it was given until then. What is
    running when the time is up is finished. Of the time a third is the defenses' own, however long
    all that they build on took, the search for a trigger in the given model included: else nothing
    would come of it.

    Args:
        sweep: of grids; its defenses in the order in which they are tried.
        store: what has finished decides whether to go on.
        minutes: from the first stage on; infinity for as long as it takes.
        workers: trials that run at once; between so many the time is looked at.
    """
    ends = time.monotonic() + 60 * minutes
    yield from made_first(sweep)
    turns = _Turns(sweep)
    rows = iter(turns)
    if any(defense.name == "none" for defense in sweep.defenses):
        # its trials come first, and the first one looks for a trigger in the given model
        first = max(len(expansion.tasks(sweep)) * len(sweep.seeds), workers)
        yield [ListStrategy("defenses in turn", list(islice(rows, first)))]
    ends = max(ends, time.monotonic() + 60 * minutes / 3)
    while time.monotonic() < ends:
        records = store.records(sweep.name, "tuning")
        turns.costly = {expansion.key_of(r.trial.method) for r in records if _too_costly(r)}
        if settled(records, sweep.rule) or not (some := list(islice(rows, max(1, workers)))):
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


def _too_costly(record: Record) -> bool:
    """It was not run on the copies, as it cost the given model too much at every step."""
    return "cda_given" in record.metrics and len(record.curve) == 1


@dataclass(slots=True, eq=False)
class _Turn:
    """A defense: the configurations that are left, and the last one with what is left of it."""

    left: deque[MethodConfig]
    last: MethodConfig | None = None
    lowered: int = 0

    def next(self, costly: set[str]) -> MethodConfig | None:
        """The last configuration at a lower rate where it cost too much, else the next one."""
        last = self.last
        lower = last is not None and expansion.key_of(last) in costly and "lr" in last.params
        if last is not None and lower and self.lowered < LOWERED:
            self.lowered += 1
            self.last = replace(
                last, params={**last.params, "lr": float(last.params["lr"]) / LOWER}
            )
        else:
            self.lowered = 0
            self.last = self.left.popleft() if self.left else None
        return self.last


class _Turns:
    """The trials in the order in which they take turns; the unrepaired model comes first.

    Attributes:
        costly: the configurations of which it is known by now that they cost too much.
    """

    def __init__(self, sweep: Sweep) -> None:
        asked = sorted(sweep.defenses, key=lambda defense: defense.name != "none")
        grids = (expansion.configurations(sweep, defense) for defense in asked)
        self._sweep, self._queue = sweep, deque(_Turn(deque(grid)) for grid in grids)
        self.costly: set[str] = set()

    def __iter__(self) -> Iterator[Trial]:
        """Each defense's next configuration, on all tasks at once."""
        while self._queue:
            config = self._queue[0].next(self.costly)
            if config is None:
                self._queue.popleft()
                continue
            self._queue.rotate(-1)
            for task in expansion.tasks(self._sweep):
                yield from expansion.trials_of(self._sweep, task, config)
