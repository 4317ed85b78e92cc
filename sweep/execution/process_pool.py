"""Executors without Ray: in this process, or in a few worker processes of this machine."""

import contextlib
import functools
import json
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from sweep.execution import forkserver, machine
from sweep.execution.outbox import Outbox
from sweep.execution.scheduler import LOOK, Scheduler
from sweep.execution.worker import WorkerConfig, device_for, perform, with_resources
from sweep.execution.worker_loop import serve
from sweep.spec.compute import Compute, fits
from trials.json_forms import point_from_json, record_from_json, to_json
from trials.leaving import leaving
from trials.reporting import TrialProgress, reporter
from trials.spec import Trial


def workers_for(compute: Compute) -> int:
    """Trials at a time on this machine: what was asked for, or as many as its cores, GPUs and
    memory allow.
    """
    return compute.workers or max(1, fits(compute, machine.node(compute)))


def trials_at_a_time(compute: Compute) -> int:
    """Of a sweep on this machine, once its victims and copies are there."""
    return workers_for(with_gpu(compute).stage("trials"))


def spread(compute: Compute, number: int) -> Compute:
    """What a trial gets of a stage of so many: threads of the cores that would be idle."""
    if compute.gpus:
        return compute
    together = min(workers_for(compute) * compute.threads, machine.cores())
    threads = max(compute.threads, together // max(1, number))
    return replace(compute, cpus=threads, workers=max(1, together // threads))


def with_gpu(compute: Compute) -> Compute:
    """A GPU a trial, unless said otherwise, where trials run on one."""
    device = device_for("auto") if compute.device == "auto" else compute.device
    return replace(compute, gpus=1) if device.startswith("cuda") and not compute.gpus else compute


@dataclass(frozen=True, slots=True)
class Inline:
    """Runs every trial in this process, one after the other."""

    worker_config: WorkerConfig

    def run(self, scheduler: Scheduler) -> None:
        """See ``Executor``."""
        trial = None
        while (trial := scheduler.next(near=trial)) is not None or scheduler.awaits:
            if trial is None:
                time.sleep(LOOK)
                continue
            running = perform(trial, self.worker_config)
            with reporter.heard_by(functools.partial(scheduler.report, trial)):
                for report in running.reports():
                    scheduler.report(trial, report)
            scheduler.finish(running.record)
            leaving.go()


@dataclass(frozen=True, slots=True)
class ProcessPool:
    """Runs trials in ``workers`` processes; each keeps torch, data and models for its next trial.

    With ``compute`` there are as many as the share of the running stage allows, and each trial gets
    its share's threads and time limit; with ``spread`` more threads where a stage has few trials. A
    worker that dies loses its own trial and no other's: each
    has a pipe of its own.
    """

    worker_config: WorkerConfig
    workers: int = 1
    compute: Compute | None = None
    spread: bool = False

    def run(self, scheduler: Scheduler) -> None:
        """See ``Executor``."""
        crew = _Crew(self.worker_config, self.workers)
        try:
            while True:
                while crew.free or crew.hires:
                    trial = scheduler.next(near=crew.last)
                    if trial is None:
                        break
                    crew.give(trial, self._with_share(trial, crew, scheduler.size))
                if not crew.busy and not scheduler.awaits:
                    return
                crew.hear(scheduler)
        finally:
            _dismiss(crew.workers)

    def _with_share(self, trial: Trial, crew: "_Crew", number: int) -> WorkerConfig:
        """Where this trial, of a stage of so many, runs; the crew may be as large as its share
        allows.
        """
        if self.compute is None:
            return self.worker_config
        share = self.compute.share(trial)
        if self.spread:
            share = spread(share, number)
        crew.most = workers_for(share)
        return with_resources(self.worker_config, share)


class _Crew:
    """The workers of a pool, ``most`` of them at most."""

    def __init__(self, worker_config: WorkerConfig, most: int) -> None:
        self._worker_config, self.most = worker_config, most
        self.workers: list[_Worker] = []

    @property
    def free(self) -> "_Worker | None":
        return next((w for w in self.workers if w.trial is None), None)

    @property
    def last(self) -> Trial | None:
        """What the free worker ran last."""
        return self.free.last if self.free else None

    @property
    def hires(self) -> bool:
        """Whether there may be one more."""
        return len(self.workers) < self.most

    @property
    def busy(self) -> bool:
        return any(w.trial is not None for w in self.workers)

    def give(self, trial: Trial, here: WorkerConfig) -> None:
        """Give a trial to the free worker, or to a new one; let go of those that are too many."""
        worker = self.free
        if worker is None:
            taken = {w.number for w in self.workers}
            number = next(n for n in range(self.most) if n not in taken)
            worker = _hire(self._worker_config, number)
            self.workers.append(worker)
        worker.give(trial, here)
        surplus = [w for w in self.workers[self.most :] if w.trial is None]
        for idle in surplus:
            self.workers.remove(idle)
        _dismiss(surplus)

    def hear(self, scheduler: Scheduler) -> None:
        """Wait for messages of those at work and take one of each that has any."""
        busy = {w.pipe: w for w in self.workers if w.trial is not None}
        for pipe in wait(list(busy), LOOK if scheduler.awaits else None):
            assert isinstance(pipe, Connection)
            if not _hear(busy[pipe], scheduler):
                self.workers.remove(busy[pipe])


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, the driver's end of its pipe, what it works on and where, and what it ran last."""

    number: int
    process: ForkServerProcess
    pipe: "Connection[Any, Any]"
    worker_config: WorkerConfig
    trial: Trial | None = None
    last: Trial | None = None

    def give(self, trial: Trial, worker_config: WorkerConfig) -> None:
        self.trial = self.last = trial
        self.worker_config = worker_config
        share = {"threads": worker_config.threads, "time_limit": worker_config.time_limit}
        with contextlib.suppress(OSError):  # it died while idle: reading from its pipe will tell
            self.pipe.send(json.dumps([to_json(trial), share]))


def _hear(worker: _Worker, scheduler: Scheduler) -> bool:
    """Take one message from a worker; False if it is gone."""
    trial, outbox = worker.trial, Outbox(worker.worker_config)
    assert trial is not None
    try:
        what, data = worker.pipe.recv()
    except (EOFError, OSError):
        _dismiss([worker])
        record = outbox.last_word(trial)
        if record is None:
            scheduler.worker_lost(
                trial, f"the worker process ended with exit code {worker.process.exitcode}"
            )
        else:
            scheduler.finish(record)
            outbox.drop(trial.id)
        return False
    if what in {"point", "progress"}:
        report = point_from_json(data) if what == "point" else TrialProgress(**data)
        scheduler.report(trial, report)
        return True
    worker.trial = None
    if what == "last":
        _dismiss([worker])
    scheduler.finish(record_from_json(json.loads(data)))
    outbox.drop(trial.id)
    return bool(what != "last")


def _hire(worker_config: WorkerConfig, number: int) -> _Worker:
    process, pipe = forkserver.start(serve, worker_config, number)
    return _Worker(number, process, pipe, worker_config)


def _dismiss(crew: list[_Worker]) -> None:
    forkserver.end(*(worker.process for worker in crew))
    for worker in crew:
        worker.pipe.close()
