"""Executors without Ray: in this process, or in a few worker processes of this machine."""

import contextlib
import json
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from sweep.execution import forkserver, machine
from sweep.execution.outbox import Spool
from sweep.execution.scheduler import LOOK, Source
from sweep.execution.worker import Place, placed
from sweep.execution.worker_loop import serve
from sweep.spec.compute import Compute, fits
from trials.leaving import leaving
from trials.spec import Point, Trial, record_from_json, to_json


def workers_for(compute: Compute) -> int:
    """Trials at a time on this machine: what was asked for, or as many as its cores, GPUs and memory allow."""
    return compute.workers or max(1, fits(compute, machine.node(compute)))


def inline(source: Source, place: Place) -> None:
    """Run every trial in this process, one after the other."""
    trial = None
    while (trial := source.next(near=trial)) is not None or source.awaits:
        if trial is None:
            time.sleep(LOOK)
            continue
        steps = place.perform(trial)
        while True:
            try:
                source.point(trial, next(steps))
            except StopIteration as end:
                source.finish(end.value)
                leaving.go()
                break


def pool(source: Source, place: Place, workers: int, compute: Compute | None = None) -> None:
    """Run trials in ``workers`` processes; each keeps torch, data and models for its next trial.

    With ``compute`` there are as many as the share of the running wave allows, and each trial gets its share's threads
    and time limit. A worker that dies loses its own trial and no other's: each has a pipe of its own.
    """
    crew: list[_Worker] = []
    try:
        while True:
            while (free := _free(crew)) or len(crew) < workers:
                trial = source.next(near=free.last if free else None)
                if trial is None:
                    break
                here = place
                if compute:
                    share = compute.share(trial)
                    workers, here = workers_for(share), placed(place, share)
                if free is None:
                    taken = {w.number for w in crew}
                    free = _hire(place, next(n for n in range(workers) if n not in taken))
                    crew.append(free)
                free.give(trial, here)
                _dismiss([crew.pop(crew.index(w)) for w in crew[workers:] if w.trial is None])
            busy = {w.pipe: w for w in crew if w.trial is not None}
            if not busy and not source.awaits:
                return
            for pipe in wait(list(busy), LOOK if source.awaits else None):
                assert isinstance(pipe, Connection)
                if not _hear(busy[pipe], source):
                    crew.remove(busy[pipe])
    finally:
        _dismiss(crew)


def _free(crew: list["_Worker"]) -> "_Worker | None":
    return next((w for w in crew if w.trial is None), None)


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, the driver's end of its pipe, what it works on and where, and what it ran last."""

    number: int
    process: ForkServerProcess
    pipe: "Connection[Any, Any]"
    place: Place
    trial: Trial | None = None
    last: Trial | None = None

    def give(self, trial: Trial, place: Place) -> None:
        self.trial = self.last = trial
        self.place = place
        share = {"threads": place.threads, "time_limit": place.time_limit}
        with contextlib.suppress(OSError):  # it died while idle: reading from its pipe will tell
            self.pipe.send(json.dumps([to_json(trial), share]))


def _hear(worker: _Worker, source: Source) -> bool:
    """Take one message from a worker; False if it is gone."""
    trial, spool = worker.trial, Spool(worker.place)
    assert trial is not None
    try:
        what, data = worker.pipe.recv()
    except (EOFError, OSError):
        _dismiss([worker])
        record = spool.last_word(trial)
        if record is None:
            source.lost(trial, f"the worker process ended with exit code {worker.process.exitcode}")
        else:
            source.finish(record)
            spool.drop(trial.id)
        return False
    if what == "point":
        source.point(trial, Point(**data))
        return True
    worker.trial = None
    if what == "last":
        _dismiss([worker])
    source.finish(record_from_json(json.loads(data)))
    spool.drop(trial.id)
    return bool(what != "last")


def _hire(place: Place, number: int) -> _Worker:
    process, pipe = forkserver.start(serve, place, number)
    return _Worker(number, process, pipe, place)


def _dismiss(crew: list[_Worker]) -> None:
    forkserver.end(*(worker.process for worker in crew))
    for worker in crew:
        worker.pipe.close()
