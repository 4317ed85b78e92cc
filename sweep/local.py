"""Executors without Ray: in this process, or in a few worker processes of this machine."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from sweep.config import Compute
from sweep.secrets import kept_from_children
from sweep.source import LOOK, Source
from sweep.worker import Place, device_for, die_with, spool, spooled, unspool
from trials.spec import Point, Trial, record_from_json, to_json, trial_from_json


def workers_for(compute: Compute) -> int:
    """Trials at a time on this machine: its cores (those this process may use) over a trial's cores."""
    fits = max(1, int(cores() / compute.cpus))
    if compute.device == "cpu" or not compute.gpus:
        return fits
    import torch  # noqa: PLC0415  (only where GPUs are asked for)

    return max(1, min(fits, int(torch.cuda.device_count() / compute.gpus)))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def inline(source: Source, place: Place) -> None:
    """Run every trial in this process, one after the other."""
    while (trial := source.next()) is not None or source.awaits:
        if trial is None:
            time.sleep(LOOK)
            continue
        steps = place.perform(trial)
        while True:
            try:
                source.point(trial, next(steps))
            except StopIteration as end:
                source.finish(end.value)
                break


def pool(source: Source, place: Place, workers: int) -> None:
    """Run trials in ``workers`` processes; each keeps torch, data and models for its next trial.

    A worker that dies loses its own trial and no other's: each has a pipe of its own.
    """
    crew: list[_Worker] = []
    try:
        while True:
            while (free := next((w for w in crew if w.trial is None), None)) or len(crew) < workers:
                trial = source.next()
                if trial is None:
                    break
                if free is None:
                    taken = {w.number for w in crew}
                    free = _hire(place, next(n for n in range(workers) if n not in taken))
                    crew.append(free)
                free.give(trial)
            busy = {w.pipe: w for w in crew if w.trial is not None}
            if not busy and not source.awaits:
                return
            for pipe in wait(list(busy), LOOK if source.awaits else None):
                assert isinstance(pipe, Connection)
                if not _hear(busy[pipe], source, place):
                    crew.remove(busy[pipe])
    finally:
        _dismiss(crew)


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, the driver's end of its pipe, and what it works on."""

    number: int
    process: SpawnProcess
    pipe: "Connection[Any, Any]"
    trial: Trial | None = None

    def give(self, trial: Trial) -> None:
        self.trial = trial
        with contextlib.suppress(OSError):  # it died while idle: reading from its pipe will tell
            self.pipe.send(json.dumps(to_json(trial)))


def _hear(worker: _Worker, source: Source, place: Place) -> bool:
    """Take one message from a worker; False if it is gone."""
    trial = worker.trial
    assert trial is not None
    try:
        what, data = worker.pipe.recv()
    except (EOFError, OSError):
        _dismiss([worker])
        record = spooled(place, trial.id)
        if record is None:
            source.lost(trial, f"the worker process ended with exit code {worker.process.exitcode}")
        else:
            source.finish(record)
            unspool(place, trial.id)
        return False
    if what == "point":
        source.point(trial, Point(**data))
    else:
        worker.trial = None
        source.finish(record_from_json(json.loads(data)))
        unspool(place, trial.id)
    return True


def _hire(place: Place, number: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(place, number, theirs, os.getpid()), daemon=True)
    with kept_from_children():
        process.start()
    theirs.close()  # else its end would stay open after its death
    return _Worker(number, process, ours)


def _dismiss(crew: list[_Worker]) -> None:
    for worker in crew:
        worker.process.terminate()
    for worker in crew:
        worker.process.join(5)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _serve(place: Place, number: int, pipe: "Connection[Any, Any]", driver: int) -> None:
    """A worker's life: a trial in, its points and its record out, until the driver hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; it ends its workers
    die_with(driver)
    if device_for(place.device) == "cuda":
        import torch  # noqa: PLC0415

        place = replace(place, device=f"cuda:{number % torch.cuda.device_count()}")
    with contextlib.suppress(EOFError, OSError):
        while True:
            steps = place.perform(trial_from_json(json.loads(pipe.recv())))
            while True:
                try:
                    point = next(steps)
                except StopIteration as end:
                    pipe.send(("record", spool(end.value, place)))
                    break
                pipe.send(("point", to_json(point)))
