"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table

from results.selection.labels import last_line
from results.selection.winners import pick
from sweep.console.terminal import Plain
from sweep.execution.scheduler import Progress
from trials.spec import Record, Trial

EVERY = 5.0  # seconds between two plain lines of counts
WAITING = 60.0  # and while nothing happens here, as other drivers run the rest


class ConsoleProgress:
    """Told of each event of a source; a context manager while the sweep runs."""

    def __init__(
        self, name: str, rule: str, workers: int = 1, console: Plain | None = None
    ) -> None:
        self.console = console or Plain(stderr=True)
        self._name, self._rule, self._workers = name, rule, max(1, workers)
        self._best: dict[str, tuple[float, Record]] = {}
        self._seconds: list[float] = []
        self._began = self._said = time.monotonic()
        self._live: Live | None = None
        self._noted = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        for note in progress.notes[self._noted :]:
            self._line(note)
        self._noted = len(progress.notes)
        if record is not None:
            self._take(trial, record)
        if self._live:
            self._live.update(self._table(progress))
            return
        if record is not None and record.status == "failed":
            self._line(f"failed {_what(trial)}: {last_line(record.error) or 'no traceback'}")
        if event == "worker_lost":
            self._line(f"lost the worker of {_what(trial)}; it is started again")
        if event == "lease_lost":
            self._line(
                f"came too late with {_what(trial)}: its lease had run out, and another driver "
                "has taken it"
            )
        if event == "unschedulable":
            self._line(
                f"no node that is left has {progress.unschedulable} for {_what(trial)}: it waits "
                "for one"
            )
        if event != "point" and time.monotonic() - self._said > (
            WAITING if event == "wait" else EVERY
        ):
            self._said = time.monotonic()
            self._line(self._counts(progress))

    def say(self, text: str) -> None:
        """One line, whatever is shown besides."""
        self._line(text)

    def _take(self, trial: Trial, record: Record) -> None:
        self._seconds.append(record.seconds)
        if (
            trial.game.name not in {"tuning", "robustness"}
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
                worker_lost = record.curve[0].cda - chosen.point.cda
                self._line(
                    f"{key}: best ASR so far {chosen.point.asr:.3f} at a CDA loss of "
                    f"{worker_lost:+.3f}, {trial.method}"
                )

    def _counts(self, p: Progress) -> str:
        return (
            f"{', '.join(p.stage)}: {p.done} done, {p.stored} stored before, {len(p.running)} "
            f"running, {p.failed} failed"
            f"{f', {p.pruned} pruned' if p.pruned else ''}{f', {p.blocked} blocked by these' if p.blocked else ''}, "
            f"{f'{len(p.awaited)} running remote_done, ' if p.awaited else ''}"
            f"{f'{p.remote_done} done remote_done, ' if p.remote_done else ''}{self._eta(p)}"
        )

    def _eta(self, p: Progress) -> str:
        left = p.planned - p.done - p.stored - p.failed - p.pruned - p.blocked - p.remote_done
        if not self._seconds or left <= 0:
            return f"{time.monotonic() - self._began:.0f} s gone"
        seconds = left * sum(self._seconds[-50:]) / len(self._seconds[-50:]) / self._workers
        return f"about {_span(seconds)} left of this wave"

    def _table(self, p: Progress) -> Table:
        table = Table(title=f"{self._name}: {self._counts(p)}", title_justify="left", expand=False)
        for head in ("defense", "best ASR so far", "CDA loss", "settings"):
            table.add_column(head)
        for name, (asr, record) in sorted(self._best.items(), key=lambda kv: kv[1][0]):
            chosen = pick(record, self._rule)
            worker_lost = record.curve[0].cda - chosen.point.cda if chosen else 0.0
            table.add_row(name, f"{asr:.3f}", f"{worker_lost:+.3f}", str(record.trial.method))
        for trial_id, trial in list(p.running.items())[:8]:
            point = p.points.get(trial_id)
            at = f"step {point.step}, ASR {point.asr:.3f}" if point else "started"
            table.add_row(f"[dim]running {_what(trial)}", f"[dim]{at}", "", "")
        return table

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _what(trial: Trial) -> str:
    return f"{trial.game.name} {trial.method.name if trial.method else trial.victim.dataset.name} {trial.id}"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
