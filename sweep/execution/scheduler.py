"""Where executors draw trials: stages of strategies, behind the store.

A stored trial never reaches an executor, equal trials in flight are merged, one that another driver
runs is waited for, a lost worker's trial is handed out again, and whatever comes back goes to the
store before anybody hears of it. Who runs a trial is asked of ``claims``; ``progress`` counts.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator

from results.store import Store
from sweep.execution.claims import Claims
from sweep.execution.driver import Driver
from sweep.execution.outbox import Outbox
from sweep.execution.progress import Counts, Progress, ProgressReporter
from sweep.planning.strategy import Group, Strategy, by_load, group_of
from trials.dependencies import dependencies
from trials.spec import Point, Record, Trial
from trials.trial_run import Report

LOOK = 1.0  # seconds between two looks at what other drivers run


class Scheduler:
    """Hands out the trials of a sweep's stages and takes their records.

    Args:
        stages: yields the strategies of a stage when the stage before is done.
        store: the only truth.
        sweep: name under which trials are filed.
        attempts: how often a trial whose worker was lost is started before it counts as failed.
        reporter: told of each event.
        usable: False for a stored trial whose artifact is gone, so that it runs again.
        driver: in whose name trials are claimed.
        abort_at: share of failures among ``ENOUGH`` or more finished trials at which no more are
            handed out.
        outbox: where a driver that was killed since may have left a trial's record, which then
            counts as run here.

    A trial is claimed before it is handed out. One that another driver has claimed is told to its
    strategies when its record is in the store, and claimed and handed out here when that driver's
    lease ran out. A trial whose victim or copy failed is told to its strategy as failed, but not
    stored: it has not been tried.
    """

    def __init__(  # noqa: PLR0913  (it makes its two other parts)
        self,
        stages: Iterator[list[Strategy]],
        store: Store,
        sweep: str,
        attempts: int = 3,
        reporter: ProgressReporter | None = None,
        usable: Callable[[Record], bool] = lambda _: True,
        driver: Driver | None = None,
        abort_at: float = math.inf,
        outbox: Outbox | None = None,
    ) -> None:
        self._stages, self._attempts = stages, attempts
        self._claims = Claims(store, sweep, driver or Driver(), usable, outbox)
        self._counts, self._sweep = Counts(reporter, abort_at), sweep
        self._strategies: deque[Strategy] = deque()
        self._again: deque[Trial] = deque()
        self._tries: dict[str, int] = {}
        # trial id in flight, here or elsewhere -> strategies that asked for it
        self._waiting: dict[str, list[Strategy]] = {}
        self._looked = -LOOK
        self._size = 0  # of this stage
        self._heard = 0  # trials of this stage that its strategies took up by themselves
        self._over = False
        self._failed: set[str] = set()
        self._at: dict[str, Group] = {}  # what the workers at the running trials have loaded

    @property
    def progress(self) -> Progress:
        """What a person watches."""
        return self._counts.progress

    @property
    def size(self) -> int:
        """Trials of this stage, run or not; some strategies find them one by one."""
        return sum(strategy.size for strategy in self._strategies)

    @property
    def over(self) -> bool:
        """True when every stage is done, or the sweep is given up."""
        return self._over or self.hopeless

    @property
    def hopeless(self) -> bool:
        """True when so many trials have failed that no more are handed out."""
        return self._counts.hopeless

    def check(self) -> None:
        """Raises Aborted, with one line, where the sweep was given up."""
        self._counts.check(self._sweep)

    def waiting(self) -> bool:
        """True when something is left to run here; finds out without starting it.

        Comes back once other drivers run no more of what is left, or a trial of theirs is free.
        """
        while (trial := self._upcoming()) is None and self.awaits:
            time.sleep(LOOK)
        if trial is not None:
            self._again.appendleft(trial)
        return trial is not None

    @property
    def awaits(self) -> bool:
        """True while other drivers run trials that this one needs."""
        return bool(self.progress.awaited) and not self.hopeless

    def next(self, near: Trial | None = None) -> Trial | None:
        """A trial to run now, or None: wait for one in flight, here or elsewhere, or (``over``) go
        home.

        Args:
            near: what the asking worker ran last; trials on that victim, which it has loaded, go
                first.
        """
        if self.hopeless:
            return None
        trial = self._upcoming(near)
        if trial is not None:
            self._tries[trial.id] = self._tries.get(trial.id, 0) + 1
            self._at[trial.id] = group_of(trial)
            self._counts.start(trial)
        return trial

    def finish(self, record: Record) -> None:
        """Store a record, tell the strategies that asked for it; drop it where another driver has
        taken the trial.
        """
        trial = record.trial
        in_time = self._claims.put(record)
        self._counts.let_go(trial)
        self._at.pop(trial.id, None)
        if not in_time:
            self.progress.lease_lost += 1
            self.progress.awaited[trial.id] = trial
            self._counts.tell("lease_lost", trial)
            return
        self._counts.ended(record)
        self._tell(record)
        self._counts.tell("finish", trial, record)

    def worker_lost(self, trial: Trial, why: str) -> None:
        """A worker died under this trial: hand it out again, or give up and store one failed
        record.
        """
        self._counts.let_go(trial)
        self._at.pop(trial.id, None)
        self.progress.worker_lost += 1
        if self._tries[trial.id] < self._attempts:
            self._again.append(trial)
            self._counts.tell("worker_lost", trial)
        else:
            self.finish(
                Record(
                    trial=trial,
                    status="failed",
                    error=f"its worker was lost {self._attempts} times: {why}",
                )
            )

    def report(self, trial: Trial, report: Report) -> None:
        """A running trial has come this far."""
        self._counts.report(trial, report)

    def unschedulable(self, trial: Trial, wants: str) -> None:
        """The nodes that had what this trial wants are gone; it waits for others."""
        self.progress.unschedulable = wants
        self._counts.tell("unschedulable", trial)

    def pruned(self, trial: Trial, curve: tuple[Point, ...], seconds: float) -> None:
        """A scheduler stopped this trial early: keep its partial curve, call it pruned."""
        self.finish(Record(trial=trial, status="pruned", curve=curve, seconds=seconds))

    def _upcoming(self, near: Trial | None = None) -> Trial | None:
        return self._again.popleft() if self._again else self._freed() or self._draw(near)

    def _draw(self, near: Trial | None = None) -> Trial | None:
        while not self._over:
            trial = self._ask(near)
            heard = sum(w.known for w in self._strategies)
            self.progress.remote_done += heard - self._heard
            self.progress.planned += self.size - self._size
            self._heard, self._size = heard, self.size
            if trial is not None:
                return trial
            if any(not w.done for w in self._strategies):
                return None
            self._next_stage()
        return None

    def _freed(self) -> Trial | None:
        """A trial whose driver was killed; tells the strategies what other drivers have stored by
        now.
        """
        awaited = self.progress.awaited
        if not awaited or time.monotonic() - self._looked < LOOK:
            return None
        held = self._claims.held(awaited)
        for trial in [t for t in awaited.values() if t.id not in held]:
            if self._mine(trial):
                del awaited[trial.id]
                return trial
        self._looked = time.monotonic()
        for trial in list(awaited.values())[:1]:
            self._counts.tell("wait", trial)
        return None

    def _ask(self, near: Trial | None) -> Trial | None:
        nearby, busy = group_of(near) if near else None, {victim for victim, _ in self._at.values()}
        for strategy in by_load(self._strategies, nearby, busy):
            self._strategies.remove(strategy)
            self._strategies.append(strategy)  # defenses take turns, so each has a best early on
            while (trial := strategy.ask(nearby, busy)) is not None:
                if trial.id in self._waiting:
                    self._waiting[trial.id].append(strategy)
                    continue
                self._waiting[trial.id] = [strategy]
                if self._mine(trial):
                    return trial
        return None

    def _mine(self, trial: Trial) -> bool:
        """True for a trial that is to run here, and is claimed; of another the strategies have been
        told, or will be.
        """
        if self._stored(trial) or self._blocked(trial):
            return False
        if not self._claims.claim(trial):
            self.progress.awaited[trial.id] = trial
            return False
        if self._stored(trial):  # by a driver whose claim ended between the two looks
            self._claims.release(trial)
            return False
        return not self._left_behind(trial)

    def _left_behind(self, trial: Trial) -> bool:
        """Take up the record that a driver which was killed since has left of a trial."""
        waiting = self._claims.left_behind(trial)
        if waiting is None:
            return False
        record, sweep = waiting
        self.progress.awaited.pop(trial.id, None)
        self.finish(record)
        self._claims.settle(trial, sweep)
        return True

    def _stored(self, trial: Trial) -> bool:
        record = self._claims.stored(trial)
        if record is None:
            return False
        self._counts.found(record)
        self._tell(record)
        return True

    def _blocked(self, trial: Trial) -> bool:
        if not self._failed or not any(t.id in self._failed for t in dependencies(trial)):
            return False
        self.progress.blocked += 1
        self.progress.awaited.pop(trial.id, None)
        self._tell(
            Record(trial=trial, status="failed", error="a victim or copy that it needs failed")
        )
        return True

    def _tell(self, record: Record) -> None:
        if record.status == "failed" and record.trial.method is None:
            self._failed.add(record.trial.id)
        for strategy in self._waiting.pop(record.trial.id, []):
            strategy.tell(record)

    def _next_stage(self) -> None:
        stage = next(self._stages, None)
        if stage is None:
            self._over = True
            return
        self._strategies = deque(stage)
        self.progress.stage = list(dict.fromkeys(w.label for w in stage))
        self._size = self.size
        self.progress.planned += self._size
        self._heard = sum(w.known for w in stage)
        self.progress.stored += self._heard
