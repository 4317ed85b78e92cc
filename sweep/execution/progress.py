"""The progress of a running sweep: how many trials are in which state, and what has failed.

The scheduler says what happens to each trial; this part counts it, tells the reporter of it, and
says when so many trials have failed that the sweep is given up.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from trials.reporting import TrialProgress
from trials.spec import Point, Record, Trial
from trials.trial_run import Report

ENOUGH = 10  # finished trials before a share of failures says something


@dataclass(slots=True)
class Progress:
    """Counts, the trials that run now, and the strategies of the stage that runs now.

    Attributes:
        planned: trials of all stages so far.
        stored: found in the store, not run.
        done, failed, pruned: run here, by how they ended.
        blocked: not run, because a victim or copy that they need failed.
        worker_lost: workers lost; their trials were handed out again.
        remote_done: run by other drivers while this one ran.
        lease_lost: run here, but another driver had taken the trial, as the lease had run out: not
            stored.
        running: by trial id, as all that follows.
        points: the last point of each running trial.
        loops: how far the loop is that each running trial is in.
        awaited: trials that other drivers run now.
        unschedulable: what a trial wants and no node has.
        notes: how the nodes' libraries differ from this process's.
        stage: the strategies' labels.
    """

    planned: int = 0
    stored: int = 0
    done: int = 0
    failed: int = 0
    pruned: int = 0
    blocked: int = 0
    worker_lost: int = 0
    remote_done: int = 0
    lease_lost: int = 0
    running: dict[str, Trial] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)
    loops: dict[str, TrialProgress] = field(default_factory=dict)
    awaited: dict[str, Trial] = field(default_factory=dict)
    unschedulable: str = ""
    notes: list[str] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Trials that have ended here."""
        return self.done + self.failed + self.pruned


class Aborted(RuntimeError):
    """So many trials have failed that the sweep was stopped; what finished is stored."""


# event: start, point, progress, finish, worker_lost, unschedulable; wait, remote_done (a trial that
# another driver runs, and its record), lease_lost
ProgressReporter = Callable[[str, Trial, Progress, Record | None], None]


class Counts:
    """Keeps the progress, and tells the reporter of each event.

    Args:
        reporter: told of each event.
        abort_at: share of failures among ``ENOUGH`` or more finished trials at which the sweep is
            given up.
    """

    def __init__(self, reporter: ProgressReporter | None, abort_at: float) -> None:
        self._reporter, self._abort_at = reporter or (lambda *_: None), abort_at
        self.progress = Progress()
        self._errors: Counter[str] = Counter()  # last lines of the failures of this run

    @property
    def hopeless(self) -> bool:
        """True when so many trials have failed that no more are handed out."""
        p = self.progress
        return p.ended >= ENOUGH and p.failed >= self._abort_at * p.ended

    def check(self, sweep: str) -> None:
        """Raises Aborted, with one line, where the sweep was given up."""
        if not self.hopeless:
            return
        p, (error, times) = self.progress, self._errors.most_common(1)[0]
        raise Aborted(
            f"sweep {sweep} stopped: {p.failed} of {p.ended} finished trials failed "
            f"(abort_at = {self._abort_at:g}), {times} of them with: {error.rstrip('.')}. All that "
            "finished is stored: mend the cause, then run again with --retry-failed; without, the "
            "failed ones are left out."
        )

    def tell(self, event: str, trial: Trial, record: Record | None = None) -> None:
        """Tell the reporter of an event that the progress shows already."""
        self._reporter(event, trial, self.progress, record)

    def start(self, trial: Trial) -> None:
        """A trial is handed out."""
        self.progress.running[trial.id] = trial
        self.tell("start", trial)

    def report(self, trial: Trial, report: Report) -> None:
        """A running trial has come this far."""
        if isinstance(report, Point):
            self.progress.points[trial.id] = report
            self.tell("point", trial)
        else:
            self.progress.loops[trial.id] = report
            self.tell("progress", trial)

    def let_go(self, trial: Trial) -> None:
        """A trial runs here no more."""
        for table in (self.progress.running, self.progress.points, self.progress.loops):
            table.pop(trial.id, None)

    def ended(self, record: Record) -> None:
        """A trial has ended here, and is stored."""
        counter = record.status
        setattr(self.progress, counter, getattr(self.progress, counter) + 1)
        if record.status == "failed":
            self._errors[((record.error or "").strip().splitlines() or ["no traceback"])[-1]] += 1

    def found(self, record: Record) -> None:
        """Count a trial whose record is in the store, be it old or from another driver."""
        trial = record.trial
        if self.progress.awaited.pop(trial.id, None):
            self.progress.remote_done += 1
            self.tell("remote_done", trial, record)
        else:
            self.progress.stored += 1
