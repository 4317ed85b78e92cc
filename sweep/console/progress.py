"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

import os
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from itertools import chain
from statistics import fmean
from types import TracebackType
from typing import Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from results.selection.labels import last_line
from results.selection.winners import pick
from sweep.console.running import Running, span, what
from sweep.console.terminal import Plain
from sweep.execution.progress import Progress
from sweep.execution.stops import ENDING, GRACE
from trials.spec import Record, SpecError, Trial

EVERY = 5.0  # seconds between two plain lines of counts
WAITING = 60.0  # the same while only other drivers run trials
PROGRESS_VARIABLE = "POISONSWEEP_PROGRESS_SECONDS"
PROGRESS_EVERY = 60.0  # seconds between two reports of the running trials in plain lines
REFRESH = 1.0  # and on a terminal
MOST = 8  # running trials that are shown
BAR = 24  # characters of a bar
_LINES = {
    "worker_lost": "lost the worker of {0}; it is started again",
    "lease_lost": "came too late with {0}: its lease had run out, and another driver has taken it",
    "unschedulable": "no node that is left has {1} for {0}: it waits for one",
}


class Shown(Protocol):
    """What is drawn anew in place."""

    def update(self, renderable: Group, /) -> None: ...

    def stop(self) -> None: ...


class ConsoleProgress:
    """Told of each event of a scheduler; a context manager while the sweep runs.

    On a terminal it shows a table and a bar for each running trial, elsewhere plain lines, of each
    running trial at least one in ``PROGRESS_EVERY`` seconds.

    Args:
        name: of the sweep.
        rule: by which the best configuration is named.
        workers: trials at a time.
        console: where it is shown; None for stderr.
        left: says how long the whole sweep will take, in one line; called in a thread of its own.
    """

    def __init__(
        self,
        name: str,
        rule: str,
        workers: int = 1,
        console: Plain | None = None,
        left: Callable[[], str] = str,
    ) -> None:
        self.console = console or Plain(stderr=True)
        self._name, self._rule, self._workers, self._left = name, rule, max(1, workers), left
        self._best: dict[str, tuple[float, Record]] = {}
        self._seconds = defaultdict[str, deque[float]](lambda: deque(maxlen=50))  # a game
        self._began = self._said = time.monotonic()
        self._live: Shown | None = None
        self._noted, self._sweep_left = 0, ""
        self._running, self._progress = Running(), Progress()
        self._lock, self._over = threading.RLock(), threading.Event()
        self._every = REFRESH if self.console.is_terminal else progress_seconds()
        self._clock = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            live = Live(console=self.console, refresh_per_second=4, transient=False)
            live.start()
            self._live = live
        self._clock.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._clock.join(GRACE)
        if self._live:
            self._sweep_left = ""  # no longer true
            self._live.update(self._table(self._progress))
            self._live.stop()

    def __call__(self, event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        with self._lock:
            self._progress = progress
            self._running.take(progress)
            self._heard(event, trial, progress, record)

    def _heard(self, event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        for note in progress.notes[self._noted :]:
            self._line(note)
        self._noted = len(progress.notes)
        if record is not None:
            self._take(trial, record)
        if self._live:
            self._live.update(self._table(progress))
            return
        if record is not None and record.status == "failed":
            self._line(f"failed {what(trial)}: {last_line(record.error) or 'no traceback'}")
        if event in _LINES:
            self._line(_LINES[event].format(what(trial), progress.unschedulable))
        pause = WAITING if event == "wait" else EVERY
        if event not in {"point", "progress"} and time.monotonic() - self._said > pause:
            self._said = time.monotonic()
            self._line(self._counts(progress))

    def _tick(self) -> None:
        """Show how far the running trials are, for as long as nothing else may happen."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # the main thread hears them
        while not self._over.wait(self._every):
            left = self._left()
            with self._lock:
                self._sweep_left = left
                if self._live:
                    self._live.update(self._table(self._progress))
                elif self._progress.running:
                    self._say_running(self._progress)

    def _say_running(self, progress: Progress) -> None:
        standings = list(self._running.standings(progress))
        for standing in standings[:MOST]:
            self._line(str(standing))
        if len(standings) > MOST:
            self._line(f"and {len(standings) - MOST} more run")
        self._said = time.monotonic()
        self._line(self._counts(progress))
        if self._sweep_left:
            self._line(self._sweep_left)

    def say(self, text: str) -> None:
        """One line, whatever is shown besides."""
        self._line(text)

    def _take(self, trial: Trial, record: Record) -> None:
        self._seconds[trial.game.name].append(record.seconds)
        attacked = trial.game.name == "robustness" and trial.victim.attacks
        if (
            not (attacked or trial.game.name == "tuning")
            or record.status != "done"
            or trial.method is None
        ):
            return
        chosen = (
            pick(record, self._rule)
            if self._rule != "oracle" or trial.game.name == "robustness"
            else None
        )
        if chosen is None:
            return
        key = trial.method.name
        if key not in self._best or chosen.point.asr < self._best[key][0]:
            self._best[key] = chosen.point.asr, record
            if not self._live:
                loss = record.curve[0].cda - chosen.point.cda
                self._line(
                    f"{key}: best ASR so far {chosen.point.asr:.3f} at a CDA loss of "
                    f"{loss:+.3f}, {trial.method}"
                )

    def _counts(self, p: Progress) -> str:
        counts = [f"{p.done} done", f"{p.stored} stored before", f"{len(p.running)} running"]
        counts.append(f"{p.failed} failed")
        others = {
            "pruned": p.pruned,
            "blocked by these": p.blocked,
            "running by other drivers": len(p.awaited),
            "done by other drivers": p.remote_done,
        }
        counts += [f"{number} {name}" for name, number in others.items() if number]
        return f"{', '.join(p.stage)}: {', '.join(counts)}, {self._eta(p)}"

    def _eta(self, p: Progress) -> str:
        left = p.planned - p.done - p.stored - p.failed - p.pruned - p.blocked - p.remote_done
        standings = list(self._running.standings(p))
        games = {x.trial.game.name for x in standings}
        measured = list(chain.from_iterable(self._seconds[game] for game in games))
        expected = [x.elapsed + x.left for x in standings if x.left is not None]
        known = measured or expected
        if not known or left <= 0:
            return f"{time.monotonic() - self._began:.0f} s gone"
        done = sum(x.elapsed for x in standings)
        seconds = max(0.0, left * fmean(known) - done) / min(self._workers, left)
        return f"about {span(seconds)} left of this stage"

    def _table(self, p: Progress) -> Group:
        """What matters most comes first: a small terminal shows no more than its top."""
        table = Table(expand=False)
        for head in ("defense", "best ASR so far", "CDA loss", "settings"):
            table.add_column(head)
        for name, (asr, record) in sorted(self._best.items(), key=lambda kv: kv[1][0]):
            chosen = pick(record, self._rule)
            loss = record.curve[0].cda - chosen.point.cda if chosen else 0.0
            table.add_row(name, f"{asr:.3f}", f"{loss:+.3f}", str(record.trial.method))
        bars = Table.grid(padding=(0, 1))
        for standing in list(self._running.standings(p))[:MOST]:
            total = None if standing.done is None else 1.0
            bars.add_row(ProgressBar(total, standing.done or 0.0, width=BAR), str(standing))
        top = [Text(f"{self._name}: {self._counts(p)}"), *filter(None, [Text(self._sweep_left)])]
        return Group(*top, bars, *([table] if self._best else []))

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress_seconds() -> float:
    """Seconds between two reports of the running trials where the output is no terminal.

    Raises SpecError where the environment says something else than a number.
    """
    given = os.environ.get(PROGRESS_VARIABLE, "")
    try:
        every = float(given or PROGRESS_EVERY)
    except ValueError:
        every = -1
    if not 0 < every < threading.TIMEOUT_MAX:
        raise SpecError(
            f"{PROGRESS_VARIABLE} must be a number of seconds, more than 0, got {given!r}."
        )
    return every
