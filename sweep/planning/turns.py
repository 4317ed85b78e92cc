"""Whose turn it is of a sweep's defenses, and what is tried again at a lower learning rate."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from sweep.planning import expansion
from sweep.spec.sweep_file import Defense, Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, Trial

LOWER, LOWERED = 3, 2  # a rate that costs too much is divided by 3, at most twice
_Asked = tuple[MethodConfig, int]  # and how often its rates were lowered


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
        self._asked: list[_Asked] = []  # and have not ended
        self._ever: set[str] = set()

    def look(self, ended: Collection[str], costly: Collection[str]) -> None:
        """What has ended of what was asked for, and costs too much, comes again."""
        before, self._asked = self._asked, []
        for config, lowered in before:
            key = expansion.key_of(config)
            if key not in ended:
                self._asked.append((config, lowered))
            elif self._rates and lowered < LOWERED and key in costly:
                lower = {rate: float(config.params[rate]) / LOWER for rate in self._rates}
                milder = MethodConfig(config.name, {**config.params, **lower})
                self._again.append((catalog.resolve("defenses", milder), lowered + 1))

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


class Turns:
    """The trials in the order in which they take turns; the unrepaired model comes first."""

    def __init__(self, sweep: Sweep) -> None:
        asked = sorted(sweep.defenses, key=lambda defense: defense.name != "none")
        turns = [_Turn(defense, expansion.configurations(sweep, defense)) for defense in asked]
        self._sweep, self._queue = sweep, deque(turns)

    def next(self, records: Sequence[Record], ended: Collection[str]) -> list[Trial]:
        """The next configuration's trials, on all tasks and seeds; none where there is none yet.

        Args:
            records: of the trials so far.
            ended: keys of the configurations of which all trials have ended.
        """
        costly = _too_costly(records)
        for turn in self._queue:
            turn.look(ended, costly)
        config = next(self._in_order(), None)
        return self._trials(config) if config else []

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
