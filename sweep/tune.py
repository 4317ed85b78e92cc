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
from pathlib import Path
from typing import Any

os.environ |= {  # read by Ray when it is imported; the store keeps what Tune would write
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}

import ray
from ray import tune
from ray._private import ray_constants
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep import local
from sweep.config import Compute
from sweep.source import Source
from sweep.worker import Place, spool, spooled, unspool
from trials.spec import Point, SpecError, Trial, canonical, record_from_json, to_json, trial_from_json

_NO_CLUSTER = "no Ray cluster answers at {!r}: start one with 'ray start --head', or leave --address out."
REPORT_SECONDS = 0.5  # a worker reports its points together, at most this often (with a scheduler: each at once)


class _Fifo(FIFOScheduler):
    """Leaves starting actors alone: picking a pending trial for a warm actor would cancel the one starting for it."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        return None


class _Asha(_Fifo):
    """ASHA among the configurations of one question (victim, trusted share, seed); all else runs to its end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
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
        self._place, self._patience = new_config["place"], new_config["patience"]
        self._steps = self._place.perform(trial_from_json(json.loads(new_config["trial"])))
        return True

    def step(self) -> dict[str, Any]:
        began, points = time.monotonic(), list[Point]()
        while not points or time.monotonic() - began < self._patience:
            try:
                points.append(next(self._steps))
            except StopIteration as end:
                return {"points": [], "record": spool(end.value, self._place), "done": True}
        return {"points": to_json(points), "asr": points[-1].asr, "step": points[-1].step}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials resume from the store, not from Tune."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Trials resume from the store, not from Tune."""


class _Search(Searcher):
    """Tune's searcher, drawing from our source."""

    def __init__(self, source: Source, place: Place, scheduled: bool) -> None:
        super().__init__(metric="asr", mode="min")
        self._source, self._place, self._scheduled = source, place, scheduled
        self._live: dict[str, tuple[Trial, list[Point]]] = {}

    def suggest(self, trial_id: str) -> Any:
        trial = self._source.next()
        if trial is None:
            return Searcher.FINISHED if self._source.over else None
        self._live[trial_id] = trial, []
        return {
            "trial": json.dumps(to_json(trial)),
            "place": self._place,
            "patience": 0.0 if self._scheduled else REPORT_SECONDS,
            "group": _group(trial),
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        trial, points = self._live[trial_id]
        for data in result.get("points", []):
            points.append(Point(**data))
            self._source.point(trial, points[-1])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial, points = self._live.pop(trial_id)
        result = result or {}
        if error:  # a trial's own exceptions are records; what comes here is a lost worker, perhaps with a last word
            record = spooled(self._place, trial.id)
        else:
            record = record_from_json(json.loads(result["record"])) if result.get("record") else None
        if record is not None:
            self._source.finish(record)
            unspool(self._place, trial.id)
            result["record"] = ""  # Tune keeps every last result; the store has this one
        elif error or not points:
            self._source.lost(trial, "the worker process or its node died")
        else:
            self._source.pruned(trial, tuple(points), points[-1].seconds)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the store is the truth."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run(source: Source, place: Place, compute: Compute, address: str | None = None) -> None:
    """Run every trial of the source on Ray: a cluster at ``address``, or a fresh one on this machine."""
    mine = not ray.is_initialized()
    if mine:
        _connect(address)
    folder = Path(place.artifacts) / "tune" / uuid.uuid4().hex
    try:
        slots = _slots(compute)
        scheduled = compute.scheduler == "asha"
        tuner = tune.Tuner(
            tune.with_resources(WarmRunner, {"cpu": compute.cpus, "gpu": compute.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_Search(source, place, scheduled),
                scheduler=_Asha() if scheduled else _Fifo(),  # type: ignore[no-untyped-call]
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=slots,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(folder),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        tuner.fit()
    finally:
        if mine:
            ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _group(trial: Trial) -> str:
    """Whom a scheduler may compare a trial with; "" for nobody."""
    if trial.method is None or trial.game.name not in {"tuning", "robustness"} or trial.game.params.get("stop_at"):
        return ""
    return canonical([trial.victim.id, trial.trusted, trial.seed])


def _connect(address: str | None) -> None:
    if address is not None:
        _knock(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:  # "local", as else Ray would join any cluster that it finds on this machine
        quiet |= {"address": "local", "include_dashboard": False, "num_cpus": local.cores()}
    else:
        quiet |= {"address": address}
    reachable = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = reachable and address is not None  # our own listens on the loopback alone
    try:
        ray.init(**quiet)
    except ConnectionError as problem:  # address = "auto" and nothing there
        raise SpecError(_NO_CLUSTER.format(address)) from problem
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = reachable
    for name in ("ray.tune", "ray.train", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _knock(address: str) -> None:
    """Raises SpecError at once where nothing listens; Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].split("/")[0].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), 10).close()
    except (OSError, OverflowError) as problem:
        raise SpecError(_NO_CLUSTER.format(address)) from problem


def _slots(compute: Compute) -> int:
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    fits = [int(have.get(name, 0) / need) for name, need in (("CPU", compute.cpus), ("GPU", compute.gpus)) if need]
    if min(fits) < 1:
        raise SpecError(
            f"a trial wants {compute.cpus:g} cores and {compute.gpus:g} GPUs, but the cluster has "
            f"{have.get('CPU', 0):g} and {have.get('GPU', 0):g}. Lower compute.cpus or compute.gpus."
        )
    return min([compute.workers, *fits] if compute.workers else fits)
