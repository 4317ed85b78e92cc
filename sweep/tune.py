"""The Ray Tune executor: Tune starts workers, spreads trials over the cluster and tells us of lost ones; no more.

Our source decides what runs and our store is the only truth, so Tune's searchers, snapshots, loggers and restore are
not used. Workers are warm: an actor keeps torch, data and models for its next trial.
"""

import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

os.environ |= {  # read by Ray when it is imported; the store keeps what Tune would write
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "3600",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # else a worker that starts loses its trial to one that is free
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # else Tune itself starts the trials of a node that was taken away
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own is not heard while we wait for other drivers
}

import ray
from ray import tune
from ray._private import ray_constants
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep import ended, idle, machine, nodes, sockets, versions
from sweep.compute import Compute, must_fit
from sweep.secrets import kept_from_children
from sweep.source import Source
from sweep.spool import Spool
from sweep.worker import Place, perform, placed, spoilt
from trials.spec import Point, SpecError, Trial, canonical, record_from_json, to_json, trial_from_json

_NO_CLUSTER = "no Ray cluster answers at {!r}: start one with 'ray start --head', or leave --address out."
REPORT_SECONDS = 0.5  # a worker reports its points together, at most this often (with a scheduler: each at once)


class _Fifo(FIFOScheduler):
    """Leaves starting actors alone: picking a pending trial for a warm actor would cancel the one starting for it.

    Args:
        why: is told, under Tune's id, why a trial was lost.
    """

    def __init__(self, why: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._why = why

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        told = (
            Path(trial.error_file) if trial.error_file else None
        )  # Tune's get_error looks where it has not yet put it
        self._why[trial.trial_id] = " ".join(told.read_text().split()) if told and told.is_file() else ""
        idle.dropped(tune_controller)
        ended.forget(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        ended.forget(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        return None


class _Asha(_Fifo):
    """ASHA among the configurations of one question (victim, trusted share, seed); all else runs to its end."""

    def __init__(self, why: dict[str, str]) -> None:
        super().__init__(why)
        self._groups: dict[str, AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if group := trial.config["group"]:
            self._groups.setdefault(group, _hyperband()).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        group = self._groups.get(trial.config["group"])
        if group is None:
            return str(TrialScheduler.CONTINUE)
        return str(group.on_trial_result(tune_controller, trial, result))


def _hyperband() -> AsyncHyperBandScheduler:
    return AsyncHyperBandScheduler(
        time_attr="step", metric="asr", mode="min", max_t=10**9, grace_period=1, reduction_factor=4
    )


class WarmRunner(tune.Trainable):
    """One worker: one trial after the other on what this process keeps warm."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._place, self._patience, self._code = (new_config[key] for key in ("place", "patience", "code"))
        self._steps = perform(trial_from_json(json.loads(new_config["trial"])), self._place)
        return True

    def step(self) -> dict[str, Any]:
        versions.must_be(self._code)  # what is raised here, not in setup, reaches the driver with its text
        began, points = time.monotonic(), list[Point]()
        while not points or time.monotonic() - began < self._patience:
            try:
                points.append(next(self._steps))
            except StopIteration as end:
                text = Spool(self._place).put(end.value)
                if spoilt(end.value):  # Tune drops a worker that raises; the driver reads the record from the spool
                    raise MemoryError("this process is not fit for another trial") from None
                return {"points": [], "record": text, "done": True}
        return {"points": to_json(points), "asr": points[-1].asr, "step": points[-1].step}


class _Search(Searcher):
    """Tune's searcher, drawing from our source.

    Attributes:
        code: digest of the code that workers must have; "" for any.
    """

    code = ""

    def __init__(self, source: Source, place: Place, compute: Compute, why: dict[str, str]) -> None:
        super().__init__(metric="asr", mode="min")
        self._source, self._place, self._compute, self._why = source, place, compute, why
        self._live: dict[str, tuple[Trial, Place, list[Point]]] = {}
        self._room = nodes.Room()
        self._freed: deque[Trial] = deque(maxlen=16)  # what the workers that wait for a trial ran last, as Tune reuses

    def suggest(self, trial_id: str) -> Any:
        if self._live and len(self._live) >= self._room.now():
            if self._room.empty and not self._room.told:
                self._room.told = True
                self._source.unmet(next(iter(self._live.values()))[0], self._room.share.wanted)
            return None
        near = self._freed.popleft() if self._freed else None
        trial = self._source.next(near)
        if trial is None:
            return Searcher.FINISHED if self._source.over else None
        share = self._compute.share(trial)
        self._room.share, here = share, placed(self._place, share)
        self._live[trial_id] = trial, here, []
        return {
            "trial": json.dumps(to_json(trial)),
            "place": here,
            "code": self.code,
            "patience": 0.0 if self._compute.scheduler == "asha" else REPORT_SECONDS,
            "group": _group(trial),
            "wants": share.wants,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        trial, _, points = self._live[trial_id]
        for data in result.get("points", []):
            points.append(Point(**data))
            self._source.point(trial, points[-1])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial, here, points = self._live.pop(trial_id)
        result, why = result or {}, self._why.pop(trial_id, "")
        if error:  # a trial's own exceptions are records; what comes here is a lost worker, perhaps with a last word
            record = Spool(here).last_word(trial)
        else:
            self._freed.append(trial)
            record = record_from_json(json.loads(result["record"])) if result.get("record") else None
        if record is not None:
            self._source.finish(record)
            Spool(here).drop(trial.id)
        elif error or not points:
            self._source.lost(trial, f"the worker process or its node died: {why[-1000:]}")
        else:
            self._source.pruned(trial, tuple(points), points[-1].seconds)

    def only_waits(self) -> bool:
        """True while nothing of ours runs, and what is left waits for other drivers."""
        return not self._live and self._source.awaits

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the store is the truth."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run(source: Source, place: Place, compute: Compute, address: str | None = None, *, ship: bool = False) -> None:
    """Run every trial of the source on Ray: a cluster at ``address``, or a fresh one on this machine.

    Raises:
        SpecError: no cluster answers, no node has what a trial wants, or one lacks the code or the artifacts folder.
    """
    mine = not ray.is_initialized()
    if mine and address is None:
        machine.fits_here(compute)
    if mine:
        _connect(address, ship)
    folder = place.scratch / "tune" / uuid.uuid4().hex
    try:
        must_fit(compute, nodes.alive())
        if address is not None:
            source.progress.notes += nodes.probe(compute, place)
        why: dict[str, str] = {}
        search = _Search(source, place, compute, why)
        search.code = versions.here()["code"] if address is not None else ""
        tuner = tune.Tuner(
            tune.with_resources(WarmRunner, _request),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=_Asha(why) if compute.scheduler == "asha" else _Fifo(why),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(folder),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # else each worker is asked for one
                callbacks=[ended.Silent()],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        with idle.kept(search.only_waits):
            tuner.fit()
    except Exception as problem:
        if ours := _buried(problem):
            raise ours from None
        raise
    finally:
        if mine:
            ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _buried(problem: BaseException) -> SpecError | None:
    """What the user has to hear of, under what Tune raised because of it."""
    cause: BaseException | None = problem
    while cause is not None and not isinstance(cause, SpecError):
        cause = cause.__context__
    return cause


def _request(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Tune reserves for a trial; workers are reused among those that want the same."""
    return tune.PlacementGroupFactory([config["wants"]])


def _group(trial: Trial) -> str:
    """Whom a scheduler may compare a trial with; "" for nobody."""
    if trial.method is None or trial.game.name not in {"tuning", "robustness"} or trial.game.params.get("stop_at"):
        return ""
    return canonical([trial.victim.id, trial.trusted, trial.seed])


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
    try:  # with that off Ray takes 127.0.0.1 for its own address, and so listens to this machine alone
        with kept_from_children():
            ray.init(**quiet)
    except ConnectionError as problem:  # address = "auto" and nothing there
        raise SpecError(_NO_CLUSTER.format(address)) from problem
    except RuntimeError as problem:
        if "ersion mismatch" not in str(problem):
            raise
        raise SpecError(f"{' '.join(str(problem).split())}. Install the same versions on every node.") from problem
    except ray.exceptions.AuthenticationError as problem:
        raise SpecError(
            f"the Ray cluster at {address!r} wants its token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "~/.ray/auth_token to what its head node has (docs/cluster.md)."
        ) from problem
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = joins
    for name in ("ray.tune", "ray.train", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _knock(address: str) -> None:
    """Raises SpecError at once where nothing listens; Ray would try for minutes."""
    if address.startswith("ray://"):
        raise SpecError(
            "--address takes HOST:PORT or auto, not ray://: the store is written by the process that runs the sweep. "
            "Run it on a node of the cluster, or hand it in with 'ray job submit' (docs/cluster.md)."
        )
    host, _, port = address.rpartition("://")[2].split("/")[0].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), 10).close()
    except (OSError, OverflowError) as problem:
        raise SpecError(_NO_CLUSTER.format(address)) from problem
