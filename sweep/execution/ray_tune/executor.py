"""The Ray Tune executor: Tune starts workers, spreads trials over the cluster and tells us of lost
ones; no more.

Our scheduler decides what runs and our store is the only truth, so Tune's searchers, snapshots,
loggers and restore are not used. Workers are warm: an actor keeps torch, data and models for its
next trial.
"""

import shutil
import uuid
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune

from results.selection.rules import DEFAULT_RULE
from sweep.execution import machine, stops, versions
from sweep.execution.ray_tune import actor_cache, mailbox, nodes, trial_cleanup
from sweep.execution.ray_tune.connection import connect
from sweep.execution.ray_tune.schedulers import Asha, Fifo
from sweep.execution.ray_tune.searcher import SchedulerSearch
from sweep.execution.ray_tune.warm_runner import WarmRunner
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.spec.compute import Compute, must_fit
from trials.spec import SpecError


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
            connect(self.address, self.ship)
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
        search = SchedulerSearch(scheduler, self.worker_config, self.compute, why, self.rule)
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
