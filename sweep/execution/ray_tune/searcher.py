"""What Tune takes for a search algorithm: it hands out the trials of our scheduler."""

import json
import uuid
from collections import deque
from typing import Any

from ray.tune.search import Searcher

from sweep.execution.outbox import Outbox
from sweep.execution.ray_tune import mailbox, nodes
from sweep.execution.ray_tune.schedulers import first_rung, group_of
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig, with_resources
from sweep.spec.compute import Compute
from trials.json_forms import point_from_json, record_from_json, to_json
from trials.reporting import TrialProgress
from trials.spec import Point, Trial

# a worker reports its points together, at most this often; with a scheduler of Tune's, each at once
REPORT_SECONDS = 0.5


class SchedulerSearch(Searcher):
    """Tune's searcher, drawing from our scheduler.

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
        rule: str,
    ) -> None:
        super().__init__(metric="asr", mode="min")
        self._scheduler, self._worker_config = scheduler, worker_config
        self._compute, self._why = compute, why
        self._rule = rule if compute.scheduler == "asha" else ""
        self._live: dict[str, tuple[Trial, WorkerConfig, list[Point]]] = {}
        self._run = uuid.uuid4().hex
        self._capacity = nodes.NodeCapacity()
        # what the workers that wait for a trial ran last, as Tune reuses them
        self._freed: deque[Trial] = deque(maxlen=16)

    def suggest(self, trial_id: str) -> Any:
        if self._live and len(self._live) >= self._capacity.now():
            if self._capacity.empty and not self._capacity.told:
                self._capacity.told = True
                waiting, _, _ = next(iter(self._live.values()))
                self._scheduler.unschedulable(waiting, self._capacity.share.wanted)
            return None
        near = self._freed.popleft() if self._freed else None
        trial = self._scheduler.next(near)
        if trial is None:
            return Searcher.FINISHED if self._scheduler.over else None
        share, group = self._compute.share(trial), group_of(trial)
        self._capacity.share, here = share, with_resources(self._worker_config, share)
        self._live[trial_id] = trial, here, []
        return {
            "trial": json.dumps(to_json(trial)),
            "worker_config": here,
            "letters": f"{self._run}/{trial_id}",
            "code": self.code,
            "report_seconds": 0.0 if self._rule else REPORT_SECONDS,
            "rule": self._rule if group else "",
            "group": group,
            "first_rung": first_rung(trial),
            "wants": share.wants,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        trial, _, points = self._live[trial_id]
        for data in result.get("points", []):
            points.append(point_from_json(data))
            self._scheduler.report(trial, points[-1])
        for data in result.get("training", []):
            self._scheduler.report(trial, TrialProgress(**data))

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
            # the last points, at which a scheduler of Tune's stopped the trial
            points += [point_from_json(data) for data in result.get("points", [])]
        if record is not None:
            self._scheduler.finish(record)
            Outbox(here).drop(trial.id)
        elif error or not points:
            self._scheduler.worker_lost(
                trial, f"the worker process or its node died: {why[-1000:]}"
            )
        else:
            self._scheduler.pruned(trial, tuple(points), points[-1].seconds)

    def letters(self) -> list[str]:
        """Keys under which the trials that run now tell how far they are."""
        return [f"{self._run}/{trial_id}" for trial_id in self._live]

    def hear(self, letter: str, report: TrialProgress) -> None:
        """A trial has told how far it is."""
        self._scheduler.report(self._live[letter.rpartition("/")[2]][0], report)

    def only_waits(self) -> bool:
        """True while nothing of ours runs, and what is left waits for other drivers."""
        return not self._live and self._scheduler.awaits

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the store is the truth."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
