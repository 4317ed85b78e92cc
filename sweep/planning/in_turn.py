"""The stages of a sweep that has to end in time: the defenses take turns, a few configurations
each time, until the time is up or the answer cannot get better.
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from results.selection.winners import CONTROLS, REPAIRED, Winner, overall, winners
from results.stats.intervals import wilson
from results.store import Store
from sweep.planning import expansion
from sweep.planning.stages import made_first
from sweep.planning.strategy import ListStrategy, Strategy
from sweep.spec.sweep_file import Defense, Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, Trial

_CONFIRMED = 1.75  # times what tuning took
LOWER, LOWERED = 3, 2  # a rate that costs too much is divided by 3, at most twice
_Asked = tuple[MethodConfig, int]  # and how often its rates were lowered


def in_turn(sweep: Sweep, store: Store, minutes: float, workers: int) -> Iterator[list[Strategy]]:
    """What configurations build on, then what is left without any repair, then each defense's first
    configuration, then each one's second, and so on.

    Where a configuration costs the given model more than the rule allows at all of its steps, which
    one repair shows, the same at a lower learning rate comes next, of a defense that then costs
    less: what a rate costs hangs on the network, and no grid fits all.

    A defense of which nothing is worth its time costs only what it was given until then. It ends
    in time for the best setting to be confirmed. What is running when the time is up is finished.
    Of the time a third is the defenses' own, however long all that they build on took, the search
    for a trigger in the given model included: else nothing would come of it.

    Args:
        sweep: of grids; its defenses in the order in which they are tried.
        store: what has finished decides whether to go on.
        minutes: from the first stage on, what comes after the last included; infinity for as long
            as it takes.
        workers: trials that run at once; between so many, or a few more, the time is looked at.
    """
    ends = time.monotonic() + 60 * minutes
    yield from made_first(sweep)
    turns = _Turns(sweep, workers)
    if unrepaired := turns.unrepaired():
        # by itself: it looks for a trigger in the given model, which all others then have
        yield [ListStrategy("defenses in turn", unrepaired)]
    least = time.monotonic() + 60 * minutes / 3
    while True:
        records = store.records(sweep.name, "tuning")
        if time.monotonic() >= max(ends - confirming(records, sweep.rule), least):
            return
        if settled(records, sweep.rule) or not (some := turns.batch(records)):
            return
        yield [ListStrategy("defenses in turn", some)]


def confirming(records: list[Record], rule: str) -> float:
    """Seconds that it will take, about, to confirm the best setting so far and to apply it: it runs
    on the copies again, is probed there, and runs on the given model.
    """
    found = next((w for w in overall(winners(records, rule)) if w.step), None)
    took = [r.seconds for r in records if found and r.trial.method == found.method]
    return _CONFIRMED * max(took, default=0.0)


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


def _too_costly(records: Iterable[Record]) -> set[str]:
    """The configurations that did not run on the copies, as they cost the given model too much at
    every step or ended in no numbers, on all tasks and seeds that tell.
    """
    found = defaultdict[str, list[bool]](list)
    for record in records:
        diverged = record.status == "failed" and "ArithmeticError" in (record.error or "")
        dear = "cda_given" in record.metrics and len(record.curve) == 1
        if diverged or record.status != "failed":
            found[expansion.key_of(record.trial.method)].append(diverged or dear)
    return {key for key, each in found.items() if all(each)}


class _Turn:
    """A defense: what is left of its grid, and what of it is to be tried again at a lower rate."""

    def __init__(self, defense: Defense, grid: Iterable[MethodConfig]) -> None:
        self.name = defense.name
        rates = catalog.describe("defenses", defense.name).rates
        self._rates = frozenset[str]() if rates & defense.fixed.keys() else rates
        self._grid, self._again = deque((config, 0) for config in grid), deque[_Asked]()
        self._asked: list[_Asked] = []  # since the last look
        self._ever: set[str] = set()

    def look(self, costly: set[str]) -> None:
        """What costs too much of what was asked for comes again."""
        for config, lowered in self._asked:
            if self._rates and lowered < LOWERED and expansion.key_of(config) in costly:
                lower = {rate: float(config.params[rate]) / LOWER for rate in self._rates}
                milder = MethodConfig(config.name, {**config.params, **lower})
                self._again.append((catalog.resolve("defenses", milder), lowered + 1))
        self._asked = []

    def again(self) -> Iterator[MethodConfig]:
        """What is to be tried again."""
        while config := self._ask(self._again):
            yield config

    def new(self) -> MethodConfig | None:
        """The next of the grid; None where nothing is left of it."""
        return self._ask(self._grid)

    def _ask(self, waiting: deque[_Asked]) -> MethodConfig | None:
        """The next that was never asked for: a lower rate may be one of the grid's too."""
        while waiting:
            config, lowered = waiting.popleft()
            if (key := expansion.key_of(config)) not in self._ever:
                self._ever.add(key)
                self._asked.append((config, lowered))
                return config
        return None


class _Turns:
    """The trials in the order in which they take turns; the unrepaired model comes first.

    Args:
        number: of trials that are to run side by side; a batch has no fewer while there are any.
    """

    def __init__(self, sweep: Sweep, number: int) -> None:
        asked = sorted(sweep.defenses, key=lambda defense: defense.name != "none")
        turns = [_Turn(defense, expansion.configurations(sweep, defense)) for defense in asked]
        self._sweep, self._number, self._queue = sweep, max(1, number), deque(turns)

    def batch(self, records: Sequence[Record]) -> list[Trial]:
        """The next trials, each configuration's on all tasks and seeds; none where all have run.

        Args:
            records: of the trials of all batches so far.
        """
        costly, found = _too_costly(records), list[Trial]()
        for turn in self._queue:
            turn.look(costly)
        for config in self._in_order():
            found += self._trials(config)
            if len(found) >= self._number:
                break
        return found

    def unrepaired(self) -> list[Trial]:
        """The trials of the model as it is, before all others; none where nobody asked for them."""
        if self._sweep.defenses and (first := self._queue[0]).name == "none":
            self._queue.popleft()
            return list(chain.from_iterable(map(self._trials, iter(first.new, None))))
        return []

    def _trials(self, config: MethodConfig) -> list[Trial]:
        """Of a configuration, on all tasks and seeds."""
        found = list[Trial]()
        for task in expansion.tasks(self._sweep):
            found += expansion.trials_of(self._sweep, task, config)
        return found

    def _in_order(self) -> Iterator[MethodConfig]:
        """First what is to be tried again, which costs little to find out, then what is new."""
        for turn in self._queue:
            yield from turn.again()
        idle = 0
        while idle < len(self._queue):
            turn = self._queue[0]
            self._queue.rotate(-1)
            idle += 1
            if config := turn.new():
                idle = 0
                yield config
