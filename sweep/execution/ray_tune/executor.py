"""The Ray Tune executor: Tune starts workers, spreads trials over the cluster and tells us of lost
ones; no more.

Our source decides what runs and our store is the only truth, so Tune's searchers, snapshots,
loggers and restore are not used. Workers are warm: an actor keeps torch, data and models for its
next trial.
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

os.environ |= {  # read by Ray when it is imported; the store keeps what Tune would write
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "3600",
    # else a worker that starts loses its trial to one that is free
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # else Tune itself starts the trials of a node that was taken away
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own is not heard while we wait for other drivers
}

import ray
from ray import tune
from ray._private import ray_constants, utils
from ray.tune.search import Searcher

from sweep.execution import machine, sockets, stops, versions
from sweep.execution.outbox import Outbox
from sweep.execution.ray_tune import actor_cache, mailbox, nodes, trial_cleanup
from sweep.execution.ray_tune.schedulers import Asha, Fifo, first_rung, group_of, standing
from sweep.execution.scheduler import Scheduler
from sweep.execution.secrets import kept_from_children
from sweep.execution.worker import WorkerConfig, perform, spoilt, with_resources
from sweep.spec.compute import Compute, must_fit
from trials.leaving import leaving
from trials.reporting import TrialProgress, reporter
from trials.spec import (
    Point,
    SpecError,
    Trial,
    point_from_json,
    record_from_json,
    to_json,
    trial_from_json,
)
from trials.trial_run import Report

_NO_CLUSTER = (
    "no Ray cluster answers at {!r}: start one with 'ray start --head', or leave --address out."
)
DEFAULT_RULE = "min_asr_within_delta"
REPORT_SECONDS = (
    0.5  # a worker reports its points together, at most this often (with a scheduler: each at once)
)


class WarmRunner(tune.Trainable):
    """One worker: one trial after the other on what this process keeps warm."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._worker_config, self._patience, self._code = (
            new_config[key] for key in ("place", "patience", "code")
        )
        self._listener = mailbox.post(new_config["letters"])
        self._trial, self._rule = (
            trial_from_json(json.loads(new_config["trial"])),
            new_config["rule"],
        )
        self._curve = list[Point]()
        self._running = perform(self._trial, self._worker_config)
        return True

    def step(self) -> dict[str, Any]:
        versions.must_be(
            self._code
        )  # what is raised here, not in setup, reaches the driver with its text
        began, reports = time.monotonic(), list[Report]()
        with reporter.heard_by(self._listener):
            for report in self._running.reports():
                reports.append(report)
                if time.monotonic() - began >= self._patience:
                    return self._told(reports)
        record = self._running.record
        text = Outbox(self._worker_config).put(record)
        if spoilt(record):
            # Tune drops a worker that raises; the driver reads the record from the outbox
            raise MemoryError("this process is not fit for another trial")
        return {"points": [], "record": text, "done": True}

    def _told(self, reports: list[Report]) -> dict[str, Any]:
        points = [report for report in reports if isinstance(report, Point)]
        trainings = [asdict(report) for report in reports if isinstance(report, TrialProgress)]
        told: dict[str, Any] = {"points": to_json(points), "training": trainings[-1:]}
        if points:
            told["asr"] = points[-1].asr
        if points and self._rule:
            self._curve += points
            told |= standing(self._trial, self._curve, self._rule)
        return told

    def cleanup(self) -> None:
        """Tune stops this worker: write how far its trial has come."""
        if leaving.write:
            leaving.write()


class _Search(Searcher):
    """Tune's searcher, drawing from our source.

    Attributes:
        code: digest of the code that workers must have; "" for any.
    """

    code = ""

    def __init__(
        self,
        scheduler: Scheduler,
        worker_config: WorkerConfig,
        compute: Compute,
        why: dict[str, str],
        rule: str = DEFAULT_RULE,
    ) -> None:
        super().__init__(metric="asr", mode="min")
        self._source, self._worker_config, self._compute, self._why = (
            scheduler,
            worker_config,
            compute,
            why,
        )
        self._rule = rule if compute.scheduler == "asha" else ""
        self._live: dict[str, tuple[Trial, WorkerConfig, list[Point]]] = {}
        self._run = uuid.uuid4().hex
        self._room = nodes.NodeCapacity()
        self._freed: deque[Trial] = deque(
            maxlen=16
        )  # what the workers that wait for a trial ran last, as Tune reuses

    def suggest(self, trial_id: str) -> Any:
        if self._live and len(self._live) >= self._room.now():
            if self._room.empty and not self._room.told:
                self._room.told = True
                self._source.unschedulable(
                    next(iter(self._live.values()))[0], self._room.share.wanted
                )
            return None
        near = self._freed.popleft() if self._freed else None
        trial = self._source.next(near)
        if trial is None:
            return Searcher.FINISHED if self._source.over else None
        share, group = self._compute.share(trial), group_of(trial)
        self._room.share, here = share, with_resources(self._worker_config, share)
        self._live[trial_id] = trial, here, []
        return {
            "trial": json.dumps(to_json(trial)),
            "place": here,
            "letters": f"{self._run}/{trial_id}",
            "code": self.code,
            "patience": 0.0 if self._rule else REPORT_SECONDS,
            "rule": self._rule if group else "",
            "group": group,
            "first_rung": first_rung(trial),
            "wants": share.wants,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        trial, _, points = self._live[trial_id]
        for data in result.get("points", []):
            points.append(point_from_json(data))
            self._source.report(trial, points[-1])
        for data in result.get("training", []):
            self._source.report(trial, TrialProgress(**data))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        trial, here, points = self._live.pop(trial_id)
        mailbox.drop(f"{self._run}/{trial_id}")
        result, why = result or {}, self._why.pop(trial_id, "")
        # a trial's own exceptions are records; what comes here is a lost worker, perhaps with a
        # last word
        if error:
            record = Outbox(here).last_word(trial)
        else:
            self._freed.append(trial)
            record = (
                record_from_json(json.loads(result["record"])) if result.get("record") else None
            )
            points += [
                point_from_json(data) for data in result.get("points", [])
            ]  # with which a scheduler stopped it
        if record is not None:
            self._source.finish(record)
            Outbox(here).drop(trial.id)
        elif error or not points:
            self._source.worker_lost(trial, f"the worker process or its node died: {why[-1000:]}")
        else:
            self._source.pruned(trial, tuple(points), points[-1].seconds)

    def letters(self) -> list[str]:
        """Keys under which the trials that run now tell how far they are."""
        return [f"{self._run}/{trial_id}" for trial_id in self._live]

    def hear(self, letter: str, report: TrialProgress) -> None:
        """A trial has told how far it is."""
        self._source.report(self._live[letter.rpartition("/")[2]][0], report)

    def only_waits(self) -> bool:
        """True while nothing of ours runs, and what is left waits for other drivers."""
        return not self._live and self._source.awaits

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the store is the truth."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class RayTune:
    """Runs every trial on Ray: a cluster at ``address``, or a fresh one on this machine.

    With ASHA trials are compared by what ``rule`` takes of their curves. ``run`` raises SpecError
    where no cluster answers, no node has what a trial wants, or one lacks the code or the artifacts
    folder.
    """

    worker_config: WorkerConfig
    compute: Compute
    address: str | None = None
    ship: bool = False
    rule: str = DEFAULT_RULE

    def run(self, scheduler: Scheduler) -> None:
        """See ``Executor``."""
        mine = not ray.is_initialized()
        if mine and self.address is None:
            machine.fits_here(self.compute)
        if mine:
            _connect(self.address, self.ship)
        folder = self.worker_config.scratch / "tune" / uuid.uuid4().hex
        try:
            self._tune(scheduler, str(folder))
        except Exception as problem:
            if ours := _buried(problem):
                raise ours from None
            raise
        finally:
            if mine:
                ray.shutdown()
                stops.again()
            shutil.rmtree(folder, ignore_errors=True)

    def _tune(self, scheduler: Scheduler, folder: str) -> None:
        must_fit(self.compute, nodes.alive())
        if self.address is not None:
            scheduler.progress.notes += nodes.probe(self.compute, self.worker_config)
        why: dict[str, str] = {}
        search = _Search(scheduler, self.worker_config, self.compute, why, self.rule)
        search.code = versions.here()["code"] if self.address is not None else ""
        tune_scheduler = Asha(why) if self.compute.scheduler == "asha" else Fifo(why)
        tuner = tune.Tuner(
            tune.with_resources(WarmRunner, _request),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=tune_scheduler,
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                verbose=0,
                # else each worker is asked for one
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[
                    trial_cleanup.Silent(),
                    mailbox.Mailbox(search.letters, search.hear),
                ],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        with actor_cache.kept(search.only_waits):
            try:
                tuner.fit()
            except KeyboardInterrupt:
                tune_scheduler.stop()
                raise


def _buried(problem: BaseException) -> SpecError | None:
    """What the user has to hear of, under what Tune raised because of it."""
    cause: BaseException | None = problem
    while cause is not None and not isinstance(cause, SpecError):
        cause = cause.__context__
    return cause


def _request(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Tune reserves for a trial; workers are reused among those that want the same."""
    return tune.PlacementGroupFactory([config["wants"]])


def _connect(address: str | None, ship: bool) -> None:
    if address is not None:
        _knock(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:  # "local", as else Ray would join any cluster that it finds on this machine
        quiet |= {"address": "local", "include_dashboard": False, "num_cpus": machine.cores()}
        quiet |= {"_memory": machine.memory(), "_temp_dir": sockets.for_ray()}
    else:
        quiet |= {"address": address, "runtime_env": nodes.shipped() if ship else None}
    joins, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, address is not None
    # with that off Ray takes 127.0.0.1 for its own address, and so listens to this machine alone
    try:
        with kept_from_children(), _signals_left_alone():
            ray.init(**quiet)
    except ConnectionError as problem:  # address = "auto" and nothing there
        raise SpecError(_NO_CLUSTER.format(address)) from problem
    except RuntimeError as problem:
        if "ersion mismatch" not in str(problem):
            raise
        raise SpecError(
            f"{' '.join(str(problem).split())}. Install the same versions on every node."
        ) from problem
    except ray.exceptions.AuthenticationError as problem:
        raise SpecError(
            f"the Ray cluster at {address!r} wants its token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN or "
            "~/.ray/auth_token to what its head node has (docs/cluster.md)."
        ) from problem
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = joins
    for name in ("ray.tune", "ray.train", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Ray's processes do not hear that a terminal was closed, and Ray puts no handler in the place
    of ours.
    """
    usual = getattr(utils, "set_sigterm_handler", None)
    if usual and stops.are_heard():
        utils.set_sigterm_handler = lambda _: None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if usual:
            utils.set_sigterm_handler = usual
        stops.again()


def _knock(address: str) -> None:
    """Raises SpecError at once where nothing listens; Ray would try for minutes."""
    if address.startswith("ray://"):
        raise SpecError(
            "--address takes HOST:PORT or auto, not ray://: the store is written by the process "
            "that runs the sweep. "
            "Run it on a node of the cluster, or hand it in with 'ray job submit' "
            "(docs/cluster.md)."
        )
    host, _, port = address.rpartition("://")[2].split("/")[0].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), 10).close()
    except (OSError, OverflowError) as problem:
        raise SpecError(_NO_CLUSTER.format(address)) from problem
