"""Strategies through a search space. A strategy hands out trials and is told their records; it
knows neither store nor executor.

Here is the strategy of a list that is known beforehand; ``sweep.planning.optuna_search`` learns
from what came back.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from trials.spec import Record, Trial, canonical

# what a worker must have loaded: a victim's id, and all that names copies of it
Group = tuple[str, str]
Ready = list[tuple[Group, Trial]]
# what a trial makes a worker load; SHARED: a victim others are at
NOTHING, COPIES, VICTIM, SHARED, NONE = range(5)


class Strategy(Protocol):
    """What the scheduler draws trials from."""

    label: str
    known: int  # of ``size``, trials whose stored records it read by itself; never handed out

    @property
    def size(self) -> int:
        """Trials in all, as far as that is known."""

    def ask(self, near: Group | None = None, busy: Collection[str] = ()) -> Trial | None:
        """The next trial, or None while there is none (wait for records, or done).

        Args:
            near: the group of what the asking worker ran last; the trial that makes it load the
                least goes first.
            busy: ids of victims that workers are at, to be left to them while there are others.
        """

    def loads(self, near: Group | None, busy: Collection[str]) -> int:
        """What the trial that ``ask`` would give makes that worker load: NOTHING to SHARED, or NONE
        for no trial.
        """

    def tell(self, record: Record) -> None:
        """What a trial of this strategy gave."""

    @property
    def done(self) -> bool:
        """True when every trial has been asked for and told."""


def group_of(trial: Trial) -> Group:
    """What a worker that has run this trial has loaded."""
    self_poisoning = trial.self_poisoning.identity() if trial.self_poisoning else None
    return trial.victim.id, canonical([trial.trusted, trial.seed, self_poisoning])


def by_load(
    strategies: Iterable[Strategy], near: Group | None, busy: Collection[str]
) -> list[Strategy]:
    """The strategies that have a trial, those that make the worker load the least first, else as
    they come.
    """
    loads = [(strategy.loads(near, busy), strategy) for strategy in strategies]
    return [strategy for load, strategy in sorted(loads, key=lambda pair: pair[0])]


def load_of(group: Group, near: Group | None, busy: Collection[str]) -> int:
    """What a trial of ``group`` makes a worker load that has ``near``."""
    if near and group[0] == near[0]:
        return NOTHING if group == near else COPIES
    return SHARED if group[0] in busy else VICTIM


def taken(ready: Ready, near: Group | None, busy: Collection[str]) -> Trial | None:
    """Take out the first trial that makes the worker load the least; None where there is none."""
    loads = [load_of(group, near, busy) for group, _ in ready]
    return ready.pop(loads.index(min(loads)))[1] if ready else None


class ListStrategy:
    """Trials known beforehand: victims, copies, a grid, or one setting varied at a time.

    Of many, one is handed out as fast as of few.
    """

    def __init__(self, label: str, trials: Sequence[Trial]) -> None:
        self.label, self.size, self.known = label, len(trials), 0
        self._open = len(trials)
        # places in the list, so in its order
        self._groups: dict[Group, _Queue] = defaultdict(OrderedDict)
        self._victims: dict[str, _Queue] = defaultdict(OrderedDict)
        for place, trial in enumerate(trials):
            group = group_of(trial)
            self._groups[group][place] = self._victims[group[0]][place] = group, trial

    def ask(self, near: Group | None = None, busy: Collection[str] = ()) -> Trial | None:
        best = self.loads(near, busy)
        if best == NONE:
            return None
        if near and best == NOTHING:
            queue = self._groups[near]
        elif near and best == COPIES:
            queue = self._victims[near[0]]
        else:
            queue = next(
                q for victim, q in self._victims.items() if best == SHARED or victim not in busy
            )
        place, (group, trial) = next(iter(queue.items()))
        _take(self._groups, group, place)
        _take(self._victims, group[0], place)
        return trial

    def loads(self, near: Group | None, busy: Collection[str]) -> int:
        if near and near[0] in self._victims:
            return NOTHING if near in self._groups else COPIES
        if any(victim not in busy for victim in self._victims):
            return VICTIM
        return SHARED if self._victims else NONE

    def tell(self, record: Record) -> None:
        self._open -= 1

    @property
    def done(self) -> bool:
        return self._open == 0


_Queue = OrderedDict[int, tuple[Group, Trial]]
K = TypeVar("K")


def _take(queues: dict[K, _Queue], key: K, place: int) -> None:
    del queues[key][place]
    if not queues[key]:
        del queues[key]
