"""The Ray Tune executor: Tune starts workers, spreads trials over the cluster and tells us of lost ones; no more.

Our source decides what runs and our store is the only truth, so Tune's searchers, snapshots, loggers and restore are
not used. Workers are warm: an actor keeps torch, data and models for its next trial.
"""

import json
import os
import time
from typing import Any

os.environ |= {  # read by Ray when it is imported; the store keeps what Tune would write
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep.config import Compute
from sweep.source import Source
from sweep.worker import Place, make_bench, spool, unspool
from trials.spec import Point, SpecError, Trial, record_from_json, to_json, trial_from_json

REPORT_SECONDS = 0.5  # a worker reports its points together, at most this often (with a scheduler: each at once)


class _KeepStarting:
    """Leave starting actors alone: picking a pending trial for a warm actor would cancel the one that starts for it."""

    def choose_trial_to_run(self, controller: Any) -> None:
        return None


class _Fifo(_KeepStarting, FIFOScheduler):  # type: ignore[misc]
    pass


class _Asha(_KeepStarting, AsyncHyperBandScheduler):  # type: ignore[misc]
    pass


class WarmRunner(tune.Trainable):  # type: ignore[misc]
    """One worker: a bench that is set up once, and one trial after the other on it."""

    def setup(self, config: dict[str, Any]) -> None:
        self._place = Place(*config["place"])
        self._bench = make_bench(self._place)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        from trials.run import perform  # noqa: PLC0415

        self._patience = new_config["patience"]
        self._steps = perform(trial_from_json(json.loads(new_config["trial"])), self._bench)
        return True

    def step(self) -> dict[str, Any]:
        began, points = time.monotonic(), list[Point]()
        while not points or time.monotonic() - began < self._patience:
            try:
                points.append(next(self._steps))
            except StopIteration as end:
                return {"points": [], "record": spool(end.value, self._place), "done": True}
        last = points[-1]
        return {"points": to_json(points), "asr": last.asr, "step": last.step, "seconds": last.seconds}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials resume from the store, not from Tune."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Trials resume from the store, not from Tune."""


class _Search(Searcher):  # type: ignore[misc]
    """Tune's searcher, drawing from our source."""

    def __init__(self, source: Source, place: Place, patience: float) -> None:
        super().__init__(metric="asr", mode="min")
        self._source, self._place, self._patience = source, place, patience
        self._live: dict[str, tuple[Trial, list[Point]]] = {}

    def suggest(self, trial_id: str) -> Any:
        trial = self._source.next()
        if trial is None:
            return Searcher.FINISHED if self._source.over else None
        self._live[trial_id] = trial, []
        place = (self._place.artifacts, self._place.device, self._place.threads)
        return {"trial": json.dumps(to_json(trial)), "place": place, "patience": self._patience}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        trial, points = self._live[trial_id]
        for data in result.get("points", []):
            points.append(Point(**data))
            self._source.point(trial, points[-1])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial, points = self._live.pop(trial_id)
        if error or result is None:  # exceptions of the trial are records; what comes here is a lost worker
            self._source.lost(trial, "the worker process or its node died")
        elif "record" in result:
            self._source.finish(record_from_json(json.loads(result["record"])))
            unspool(self._place, trial.id)
            result["record"] = ""  # Tune keeps every last result; the store has this one
        else:
            self._source.pruned(trial, tuple(points), points[-1].seconds if points else 0.0)

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
    try:
        resources = {"cpu": compute.cpus, "gpu": compute.gpus}
        slots = _slots(compute)
        scheduler: TrialScheduler = _Fifo()
        patience = REPORT_SECONDS
        if compute.scheduler == "asha":
            patience = 0.0
            scheduler = _Asha(
                time_attr="step", metric="asr", mode="min", max_t=10**9, grace_period=1, reduction_factor=4
            )
        tuner = tune.Tuner(
            tune.with_resources(WarmRunner, resources),
            tune_config=tune.TuneConfig(
                search_alg=_Search(source, place, patience),
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=slots,
            ),
            run_config=tune.RunConfig(
                storage_path=str(place.spool.parent / "tune"),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        tuner.fit()
    finally:
        if mine:
            ray.shutdown()


def _connect(address: str | None) -> None:
    try:
        ray.init(
            address=address,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=True,
        )
    except ConnectionError as problem:
        raise SpecError(
            f"no Ray cluster answers at {address!r}: start one with 'ray start --head', or leave --address out."
        ) from problem


def _slots(compute: Compute) -> int:
    have = ray.cluster_resources()
    fits = [int(have.get(name, 0) / need) for name, need in (("CPU", compute.cpus), ("GPU", compute.gpus)) if need]
    if min(fits, default=1) < 1:
        raise SpecError(
            f"a trial wants {compute.cpus:g} cores and {compute.gpus:g} GPUs, but the cluster has {have.get('CPU', 0):g} "
            f"and {have.get('GPU', 0):g}. Lower compute.cpus or compute.gpus."
        )
    return compute.workers or min(fits, default=1)
