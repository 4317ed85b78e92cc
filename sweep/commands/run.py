"""Run a sweep, show its progress, and give what is left to be told."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from results.store import Store
from results.store.queries import Failure
from sweep.commands.plan import AT_MOST, cost_estimate
from sweep.console.progress import ConsoleProgress
from sweep.console.running import span
from sweep.execution import process_pool, runner, stops
from sweep.execution.opening import as_begun, opened
from sweep.execution.progress import Progress
from sweep.spec.sweep_file import Sweep
from trials.spec import SpecError

NAMED = 3  # kinds of trials without a measured time that are named
SHARE = 50  # a look at the whole plan takes at most one part in so many of the time


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run did.

    Attributes:
        progress: its counts.
        failed: all failed trials that the store has of the sweep.
    """

    progress: Progress
    failed: list[Failure]


def run_for(seconds: float, sweep: Sweep, url: str, artifacts: str, how: Mapping[str, Any]) -> Ran:
    """As ``run_sweep``, for so many seconds of wall time at most.

    Raises:
        TimeUp: they are over; it says what is left.
        SpecError, Aborted, KeyboardInterrupt: as ``run_sweep``.
    """
    try:
        with stops.after(seconds):
            return run_sweep(sweep, url, artifacts, how)
    except KeyboardInterrupt:
        if not stops.timed_out():
            raise
    raise stops.TimeUp(
        f"stopped after the {seconds:g} s of --for, {_left(sweep, url)}. Everything finished is "
        "stored; the same command goes on from there."
    )


def _left(sweep: Sweep, url: str) -> str:
    """How many trials are left, by what the plan knows of them."""
    try:
        with Store.read(url) as store:
            lines = cost_estimate(as_begun(sweep, store), store)
    except SpecError:  # stopped before the store was made
        lines = cost_estimate(sweep, None)
    every, left = sum(x.trials for x in lines), sum(x.trials - x.done for x in lines)
    about = "at most " if any(x.note == AT_MOST for x in lines) else ""
    return f"with {about}{left} of {every} trials left"


def run_sweep(sweep: Sweep, url: str, artifacts: str, how: Mapping[str, Any]) -> Ran:
    """Run a sweep with live progress; ``how`` goes to the engine.

    Raises:
        SpecError, Aborted, KeyboardInterrupt: as ``runner.execute``.
    """
    worker_config = runner.worker_config_of(sweep, url, artifacts or None)
    workers = process_pool.trials_at_a_time(sweep.compute)
    at = {"use_ray": how["use_ray"], "address": how["address"]}
    with opened(sweep, url, worker_config, **at) as (store, checked):
        sweep = as_begun(sweep, store)
        left = TimeLeft(sweep, store, workers)
        with ConsoleProgress(sweep.name, sweep.rule, workers, left=left) as reporter:
            patient = store.patient(sweep.compute.outage, reporter.say)
            p = runner.execute(
                sweep, patient, worker_config, reporter=reporter, checked=checked, **how
            )
        return Ran(p, store.failures(sweep.name))


class TimeLeft:
    """Says how long the whole sweep will take, by what the store has measured."""

    def __init__(self, sweep: Sweep, store: Store, workers: int) -> None:
        self._sweep, self._store, self._workers = sweep, store.patient(0), workers
        self._text, self._next = "", 0.0

    def __call__(self) -> str:
        """One line; empty where nothing is left, or the database does not answer."""
        began = time.monotonic()
        if began >= self._next:
            try:
                self._text = self._asked()
            except (SpecError, SQLAlchemyError):
                self._text = ""
            now = time.monotonic()
            self._next = now + SHARE * (now - began)
        return self._text

    def _asked(self) -> str:
        lines = [
            line for line in cost_estimate(self._sweep, self._store) if line.trials > line.done
        ]
        measured = [line.seconds for line in lines if line.seconds is not None]
        unknown = [line.what for line in lines if line.seconds is None]
        if not measured:
            told = (
                f"sweep {self._sweep.name}: what is left of this stage, and {_unmeasured(unknown)}"
            )
            return told if unknown else ""
        besides = f", besides {_unmeasured(unknown)}" if unknown else ""
        return (
            f"sweep {self._sweep.name}: about {span(sum(measured) / self._workers)} left{besides}"
        )


def _unmeasured(kinds: list[str]) -> str:
    others = f" and {len(kinds) - NAMED} more" if len(kinds) > NAMED else ""
    return f"what is not measured yet ({', '.join(kinds[:NAMED])}{others})"
