"""Whose turn it is of a sweep's defenses, and what is tried again at a lower learning rate or for
more steps.
"""

import math
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain

from results.selection.rules import SLACK
from sweep.planning import expansion
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, Trial

LOWER, LONGER = 3, 2  # where it costs too much, a rate is divided by 3 or a length doubled,
AGAIN = 2  # at most twice
NEAR = 2  # a length only where it costs at most so many times Δ
_Asked = tuple[MethodConfig, int]  # and how often it was changed so


def _too_costly(records: Iterable[Record]) -> dict[str, float]:
    """The configurations that did not run on the copies, as they cost the given model too much at
    every step or ended in no numbers, on all tasks and seeds that tell; and what they cost there,
    infinity for no numbers.
    """
    found = defaultdict[str, list[float]](list)
    for record in records:
        key = expansion.key_of(record.trial.method)
        if record.status != "failed":
            dear = "cda_given" in record.metrics and len(record.curve) == 1
            lost = record.curve[0].cda - record.metrics["cda_given"] if dear else -math.inf
            found[key].append(lost)
        elif "ArithmeticError" in (record.error or ""):
            found[key].append(math.inf)
    return {key: max(each) for key, each in found.items() if -math.inf not in each}


class _Turn:
    """A defense: what is left of its grid, and what of it is to be tried again.

    Args:
        name: of the defense.
        grid: its configurations.
        held: settings that somebody fixed.
        near: what a configuration may cost that is tried again for more steps.
    """

    def __init__(
        self, name: str, grid: Iterable[MethodConfig], held: Set[str], near: float
    ) -> None:
        method = catalog.describe("defenses", name)
        changes = bool(method.rates or method.lengths)
        self.name, self._changes = name, changes and not held & (method.rates | method.lengths)
        self._rates, self._lengths = method.rates, method.lengths
        self._most = near if method.lengths else math.inf
        self._grid, self._again = deque((config, 0) for config in grid), deque[_Asked]()
        self._asked: list[_Asked] = []  # and have not ended
        self._ever: set[str] = set()

    def look(self, ended: Collection[str], costly: Mapping[str, float]) -> None:
        """What has ended of what was asked for, and costs too much, comes again."""
        before, self._asked = self._asked, []
        for config, times in before:
            key = expansion.key_of(config)
            if key not in ended:
                self._asked.append((config, times))
            elif self._changes and times < AGAIN and key in costly and costly[key] <= self._most:
                self._again.append((self._milder(config), times + 1))

    def _milder(self, config: MethodConfig) -> MethodConfig:
        lower = {rate: float(config.params[rate]) / LOWER for rate in self._rates}
        longer = {length: int(config.params[length]) * LONGER for length in self._lengths}
        changed = MethodConfig(config.name, {**config.params, **lower, **longer})
        return catalog.resolve("defenses", changed)

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
    """The trials in the order in which they take turns; the unrepaired model comes first.

    Args:
        sweep: of grids; its defenses in the order in which they are tried.
        own: nobody fixed a setting: what is fixed may change where it costs too much.
    """

    def __init__(self, sweep: Sweep, own: bool = False) -> None:
        near = NEAR * sweep.delta + SLACK
        asked = sorted(sweep.defenses, key=lambda defense: defense.name != "none")
        self._sweep, self._queue = sweep, deque[_Turn]()
        for d in asked:
            held = frozenset[str]() if own else frozenset(d.fixed)
            self._queue.append(_Turn(d.name, expansion.configurations(sweep, d), held, near))

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
