"""The stages of a sweep that has to end in time: the defenses take turns until the time is up or
the answer cannot get better.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from statistics import fmean

from results.selection.reconstructed import unlearns
from results.selection.winners import CONTROLS, REPAIRED, Winner, overall, winners
from results.stats.intervals import wilson
from results.store import Store
from sweep.planning import expansion
from sweep.planning.stages import made_first
from sweep.planning.strategy import NONE, NOTHING, Group, ListStrategy, Strategy
from sweep.planning.turns import Turns
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial

# times what tuning took on one core: there some 1.5, reckoned; with the threads of two some 1, as
# confirming took 0.9 of it in one run of a ResNet-18
_CONFIRMED, _SPREAD = 1.5, 1.0
# times what one took that was given up on the given model, for as many steps: 1.6 of fst, 2.0 of
# weight_decay and 3.0 of nad, where defend tried them again
_WHOLE = 2.0


def in_turn(
    sweep: Sweep, store: Store, minutes: float, workers: int, own: bool = False
) -> Iterator[list[Strategy]]:
    """What configurations build on, then what is left without any repair, then each defense's first
    configuration, then each one's second, and so on.

    Where a configuration costs the given model more than the rule allows at all of its steps, which
    one repair shows, the same at a lower learning rate, or for more steps, comes next, of a defense
    that then costs less: what that is hangs on the network, and no grid fits all.

    A defense of which nothing is worth its time costs only what it was given until then. It ends
    in time for the last setting to end and for the best one to be confirmed, be it this one: what
    will not end is passed over for good, and the next in turn may. What is running when the time is
    up is finished.
    Of the time a third is the defenses' own, however long all that they build on took, the search
    for a trigger in the given model included: else nothing would come of it.

    Args:
        sweep: of grids; its defenses in the order in which they are tried.
        store: what has finished decides whether to go on.
        minutes: from the first stage on, what comes after the last included; infinity for as long
            as it takes.
        workers: trials that run at once; whenever one of them ends, the time is looked at.
        own: nobody asked for these defenses, so none of their settings is held.
    """
    ends = time.monotonic() + 60 * minutes
    yield from made_first(sweep)
    turns = Turns(sweep, own)
    if unrepaired := turns.unrepaired():
        # by itself: it looks for a trigger in the given model, which all others then have
        yield [ListStrategy("defenses in turn", unrepaired)]
    least = time.monotonic() + 60 * minutes / 3

    def fits(records: list[Record], trial: Trial) -> bool:
        takes = expected(records, trial)
        after = max(confirming(records, sweep.rule, workers), _confirmed(workers) * takes)
        return time.monotonic() < max(ends - takes - after, least)

    def enough(records: list[Record]) -> bool:
        return settled(records, sweep.rule)

    yield [InTurn(turns, lambda: store.records(sweep.name, "tuning"), enough, fits, workers)]


class InTurn:
    """The strategy of defenses that take turns: a trial whenever a worker is free, until it ends.

    Args:
        turns: whose turn it is.
        records: what is stored of the trials so far.
        enough: whether these are enough.
        fits: whether there is time for a trial.
        workers: trials that run side by side.
    """

    label = "defenses in turn"
    known = 0

    def __init__(
        self,
        turns: Turns,
        records: Callable[[], list[Record]],
        enough: Callable[[list[Record]], bool],
        fits: Callable[[list[Record], Trial], bool],
        workers: int,
    ) -> None:
        self._turns, self._records, self._workers = turns, records, workers
        self._enough, self._fits = enough, fits
        self._ready, self._over, self._asked = deque[Trial](), False, 0
        self._open = Counter[str]()  # trials by configuration that have not ended
        self._ended = set[str]()

    @property
    def size(self) -> int:
        """Trials so far, or as many as may run side by side."""
        return self._asked if self._over else max(self._asked, self._workers)

    def ask(self, near: Group | None = None, busy: Collection[str] = ()) -> Trial | None:
        """See ``Strategy``."""
        if self.loads(near, busy) == NONE:
            return None
        self._asked += 1
        return self._ready.popleft()

    def loads(self, near: Group | None, busy: Collection[str]) -> int:
        """See ``Strategy``; all trials are on one victim."""
        if not self._ready and not self._over:
            self._look()
        return NOTHING if self._ready else NONE

    def tell(self, record: Record) -> None:
        """See ``Strategy``."""
        key = expansion.key_of(record.trial.method)
        self._open[key] -= 1
        if not self._open[key]:
            self._ended.add(key)

    @property
    def done(self) -> bool:
        """See ``Strategy``."""
        return self._over and not self._ready and not self._open.total()

    def _look(self) -> None:
        """What comes next, which may hang on what runs now."""
        records = self._records()
        if not self._enough(records):
            self._ready.extend(self._that_fit(records))
            self._open.update(expansion.key_of(trial.method) for trial in self._ready)
            if self._ready or self._open.total():
                return
        self._over = True

    def _that_fit(self, records: list[Record]) -> list[Trial]:
        """Of the next configuration for which there is time; none where there is none."""
        while trials := self._turns.next(records, self._ended):
            if self._fits(records, trials[0]):
                return trials
        return []


def expected(records: list[Record], trial: Trial) -> float:
    """Seconds that the trial will take, about: as long as the longest of its defense on the copies,
    or some times as long as one that was given up before these, for as many steps; of a defense
    that has not been tried, the mean of all that ran on the copies.
    """
    tried = [r for r in records if r.status == "done" and r.trial.method]
    mine = [r for r in tried if _name(r.trial) == _name(trial)]
    whole = [r.seconds * _longer(trial, r.trial) for r in mine if len(r.curve) > 1]
    if mine:
        given = [_WHOLE * r.seconds * _longer(trial, r.trial) for r in mine]
        return max(whole or given)
    took = [r.seconds for r in tried if _name(r.trial) != "none" and len(r.curve) > 1]
    return fmean(took) if took else 0.0


def _name(trial: Trial) -> str:
    return trial.method.name if trial.method else ""


def _longer(one: Trial, other: Trial) -> float:
    """How many times as many steps it has, where both say."""
    steps = [float(t.method.params.get("steps", 0)) if t.method else 0.0 for t in (one, other)]
    return steps[0] / steps[1] if all(steps) else 1.0


def confirming(records: list[Record], rule: str, workers: int = 1) -> float:
    """Seconds that it will take, about, to confirm the best setting so far and to apply it: with
    each seed it runs on the copies again and is probed there, and then on the given model.
    """
    found = next((w for w in overall(winners(records, rule)) if w.step), None)
    took = [r.seconds for r in records if found and r.trial.method == found.method]
    return _confirmed(workers) * max(took, default=0.0) * math.ceil(len(took) / workers)


def _confirmed(workers: int) -> float:
    """Times what tuning took that confirming takes."""
    return _CONFIRMED if workers == 1 else _SPREAD


def settled(records: list[Record], rule: str) -> bool:
    """True once a defense that is no control, and unlearns no triggers that it inverts, leaves so
    little within Δ, of planted backdoors and, where that counts, of the reconstructed trigger, that
    the whole interval is below what counts as repaired.
    """
    found = (w for w in winners(records, rule) if w.defense not in CONTROLS and w.within_delta)
    return any(_surely_repaired(w) for w in found if not unlearns(w.defense))


def _surely_repaired(w: Winner) -> bool:
    left = max([w.eta, *w.kinds.values()])
    return bool(w.n_triggered) and wilson(left, w.n_triggered or 1).high <= REPAIRED
