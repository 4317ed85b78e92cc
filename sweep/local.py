"""Executors without Ray: in this process, or in a few worker processes of this machine."""

import contextlib
import json
import multiprocessing
import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from sweep.config import Compute
from sweep.source import Source
from sweep.worker import Place, die_with_parent, make_bench, spool, unspool
from trials.spec import Record, Trial, record_from_json, to_json, trial_from_json


def workers_for(compute: Compute) -> int:
    """Trials at a time on this machine: its cores (those this process may use) over a trial's cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(cores / max(compute.cpus, 1e-9)))


def inline(source: Source, place: Place) -> None:
    """Run every trial in this process, one after the other."""
    from trials.run import run  # noqa: PLC0415  (loads torch)

    bench: Any = None
    while (trial := source.next()) is not None:
        bench = bench or make_bench(place)
        source.finish(run(trial, bench, lambda p, t=trial: source.point(t, p)))


def pool(source: Source, place: Place, workers: int) -> None:
    """Run trials in ``workers`` processes; each keeps torch, data and models for its next trial."""
    live: dict[Future[str], Trial] = {}
    executor: ProcessPoolExecutor | None = None
    try:
        while not source.over:
            while len(live) < workers and (trial := source.next()) is not None:
                executor = executor or _start(place, workers)
                try:
                    live[executor.submit(_work, json.dumps(to_json(trial)))] = trial
                except BrokenProcessPool as problem:
                    source.lost(trial, str(problem))
                    executor = _stop(executor)
            if not live:
                continue
            finished, _ = wait(live, return_when=FIRST_COMPLETED)
            for future in finished:
                trial = live.pop(future)
                try:
                    record: Record = record_from_json(json.loads(future.result()))
                except BrokenProcessPool as problem:
                    source.lost(trial, str(problem))
                    executor = _stop(executor)
                else:
                    source.finish(record)
                    unspool(place, trial.id)
    finally:
        _stop(executor)


def _start(place: Place, workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_setup, initargs=(place,))


def _stop(executor: ProcessPoolExecutor | None) -> None:
    if executor is not None:
        processes = list((executor._processes or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in processes:
            process.join(10)


_here: dict[str, Any] = {}  # a worker process's bench and place


def _setup(place: Place) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's; it ends its workers
    die_with_parent()
    _here.update(bench=make_bench(place), place=place)


def _work(trial: str) -> str:
    from trials.run import run  # noqa: PLC0415

    return spool(run(trial_from_json(json.loads(trial)), _here["bench"]), _here["place"])
