"""Where executors draw trials: stages of strategies, behind the store.

A stored trial never reaches an executor, equal trials in flight are merged, one that another driver
runs is waited for, a lost worker's trial is handed out again, and whatever comes back goes to the
store before anybody hears of it."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from results.store import Store
from sweep.execution.driver import Driver
from sweep.execution.outbox import Outbox
from sweep.planning.strategy import Group, Strategy, by_load, group_of
from trials.dependencies import dependencies
from trials.spec import Point, Record, Trial
from trials.trial_run import Report, TrialProgress

ENOUGH = 10  # finished trials before a share of failures says something


@dataclass(slots=True)
class Progress:
    """What a person watches: counts, and the strategy of the stage that runs now."""

    planned: int = 0
    stored: int = 0  # found in the store, not run
    done: int = 0
    failed: int = 0
    pruned: int = 0
    blocked: int = 0  # not run, because a victim or copy that they need failed
    worker_lost: int = 0  # workers lost; their trials were handed out again
    remote_done: int = 0  # run by other drivers while this one ran
    lease_lost: int = (
        0  # run here, but another driver had taken the trial, as the lease had run out: not stored
    )
    running: dict[str, Trial] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)  # the last point of each running trial
    trainings: dict[str, TrialProgress] = field(default_factory=dict)  # how far each one has come
    awaited: dict[str, Trial] = field(default_factory=dict)  # other drivers run them now
    unschedulable: str = ""  # what a trial wants and no node has
    notes: list[str] = field(
        default_factory=list
    )  # how the nodes' libraries differ from this process's
    stage: list[str] = field(default_factory=list)


class Aborted(RuntimeError):
    """So many trials have failed that the sweep was stopped; what finished is stored."""


# event: start, point, progress, finish, worker_lost, unschedulable; wait, remote_done (a trial that
# another driver runs, and its record), lease_lost
ProgressReporter = Callable[[str, Trial, Progress, Record | None], None]
LOOK = 1.0  # seconds between two looks at what other drivers run


class Scheduler:
    """Hands out the trials of a sweep's stages and takes their records.

    Args:
        stages: yields the strategies of a stage when the stage before is done.
        store: the only truth.
        sweep: name under which trials are filed.
        attempts: how often a trial whose worker was lost is started before it counts as failed.
        watch: told of each event.
        usable: False for a stored trial whose artifact is gone, so that it runs again.
        driver: in whose name trials are claimed.
        abort_at: share of failures among ``ENOUGH`` or more finished trials at which no more are
            handed out.
        outbox: where a driver that was killed since may have left a trial's record, which then
            counts as run here.

    A trial is claimed before it is handed out. One that another driver has claimed is told to its
    strategies when its record is in the store, and claimed and handed out here when that driver's
    lease ran out. A trial whose victim or copy failed is told to its strategy as failed, but not
    stored: it has not been tried."""

    def __init__(
        self,
        stages: Iterator[list[Strategy]],
        store: Store,
        sweep: str,
        attempts: int = 3,
        watch: ProgressReporter | None = None,
        usable: Callable[[Record], bool] = lambda _: True,
        driver: Driver | None = None,
        abort_at: float = math.inf,
        outbox: Outbox | None = None,
    ) -> None:
        self._stages, self.store, self._sweep, self._attempts = stages, store, sweep, attempts
        self._usable, self._driver, self._abort_at = usable, driver or Driver(), abort_at
        self._outbox = outbox
        self._watch = watch or (lambda *_: None)
        self.progress = Progress()
        self._strategies: deque[Strategy] = deque()
        self._again: deque[Trial] = deque()
        self._tries: dict[str, int] = {}
        self._waiting: dict[
            str, list[Strategy]
        ] = {}  # trial id in flight, here or elsewhere -> strategies that asked for it
        self._looked = -LOOK
        self._heard = 0  # trials of this stage that its strategies took up by themselves
        self._over = False
        self._failed: set[str] = set()
        self._at: dict[str, Group] = {}  # what the workers at the running trials have loaded
        self._errors: Counter[str] = Counter()  # last lines of the failures of this run

    @property
    def over(self) -> bool:
        """True when every stage is done, or the sweep is given up."""
        return self._over or self.hopeless

    @property
    def hopeless(self) -> bool:
        """True when so many trials have failed that no more are handed out."""
        p = self.progress
        ended = p.done + p.failed + p.pruned
        return ended >= ENOUGH and p.failed >= self._abort_at * ended

    def check(self) -> None:
        """Raises Aborted, with one line, where the sweep was given up."""
        if self.hopeless:
            p, (error, times) = self.progress, self._errors.most_common(1)[0]
            raise Aborted(
                f"sweep {self._sweep} stopped: {p.failed} of {p.done + p.failed + p.pruned} "
                "finished trials failed "
                f"(abort_at = {self._abort_at:g}), {times} of them with: {error.rstrip('.')}. All "
                "that finished is "
                "stored: mend the cause, then run again with --retry-failed; without, the failed "
                "ones are left out."
            )

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
            self.progress.running[trial.id] = trial
            self._at[trial.id] = group_of(trial)
            self._watch("start", trial, self.progress, None)
        return trial

    def finish(self, record: Record) -> None:
        """Store a record, tell the strategies that asked for it; drop it where another driver has
        taken the trial.
        """
        trial = record.trial
        in_time = self.store.put(record, self._sweep, self._driver.name)
        self._let_go(trial)
        if not in_time:
            self.progress.lease_lost += 1
            self.progress.awaited[trial.id] = trial
            self._watch("lease_lost", trial, self.progress, None)
            return
        counter = record.status
        setattr(self.progress, counter, getattr(self.progress, counter) + 1)
        if record.status == "failed":
            self._errors[((record.error or "").strip().splitlines() or ["no traceback"])[-1]] += 1
        self._tell(record)
        self._watch("finish", trial, self.progress, record)

    def worker_lost(self, trial: Trial, why: str) -> None:
        """A worker died under this trial: hand it out again, or give up and store one failed
        record.
        """
        self._let_go(trial)
        self.progress.worker_lost += 1
        if self._tries[trial.id] < self._attempts:
            self._again.append(trial)
            self._watch("worker_lost", trial, self.progress, None)
        else:
            self.finish(
                Record(
                    trial=trial,
                    status="failed",
                    error=f"its worker was lost {self._attempts} times: {why}",
                )
            )

    def _let_go(self, trial: Trial) -> None:
        """The trial runs here no more."""
        p = self.progress
        for table in (p.running, p.points, p.trainings, self._at):
            table.pop(trial.id, None)

    def report(self, trial: Trial, report: Report) -> None:
        """A running trial has come this far."""
        if isinstance(report, Point):
            self.progress.points[trial.id] = report
            self._watch("point", trial, self.progress, None)
        else:
            self.progress.trainings[trial.id] = report
            self._watch("progress", trial, self.progress, None)

    def unschedulable(self, trial: Trial, wants: str) -> None:
        """The nodes that had what this trial wants are gone; it waits for others."""
        self.progress.unschedulable = wants
        self._watch("unschedulable", trial, self.progress, None)

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
            self._heard = heard
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
        held = self.store.claimed(awaited)
        for trial in [t for t in awaited.values() if t.id not in held]:
            if self._mine(trial):
                del awaited[trial.id]
                return trial
        self._looked = time.monotonic()
        for trial in list(awaited.values())[:1]:
            self._watch("wait", trial, self.progress, None)
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
        if not self.store.claim(trial.id, self._driver.name, self._driver.lease):
            self.progress.awaited[trial.id] = trial
            return False
        if self._stored(trial):  # by a driver whose claim ended between the two looks
            self.store.release(self._driver.name, trial.id)
            return False
        return not self._left(trial)

    def _left(self, trial: Trial) -> bool:
        """Take up the record that a driver which was killed since has left of a trial that is now
        ours.
        """
        if self._outbox is None or (waiting := self._outbox.found(trial.id)) is None:
            return False
        record, sweep = waiting
        if not self._usable(record):
            return False
        self.progress.awaited.pop(trial.id, None)
        self.finish(record)
        self._outbox.settle(self.store, trial.id, sweep)
        return True

    def _stored(self, trial: Trial) -> bool:
        record = self.store.get(trial.id)
        if record is None or not self._usable(record):
            return False
        self.store.link(self._sweep, trial.id)
        if self.progress.awaited.pop(trial.id, None):
            self.progress.remote_done += 1
            self._watch("remote_done", trial, self.progress, record)
        else:
            self.progress.stored += 1
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
        self.progress.planned += sum(w.size for w in stage)
        self._heard = sum(w.known for w in stage)
        self.progress.stored += self._heard
