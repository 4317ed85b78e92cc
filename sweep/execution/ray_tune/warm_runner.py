"""The worker: a Ray actor that runs one trial after the other."""

import json
import time
from dataclasses import asdict
from typing import Any

from ray import tune

from sweep.execution import versions
from sweep.execution.outbox import Outbox
from sweep.execution.ray_tune import mailbox
from sweep.execution.ray_tune.schedulers import standing
from sweep.execution.worker import perform, spoilt
from trials.json_forms import to_json, trial_from_json
from trials.leaving import leaving
from trials.reporting import TrialProgress, reporter
from trials.spec import Point
from trials.trial_run import Report


class WarmRunner(tune.Trainable):
    """One worker: one trial after the other on what this process keeps warm."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._worker_config, self._report_seconds, self._code = (
            new_config[key] for key in ("worker_config", "report_seconds", "code")
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
        # what is raised here, not in setup, reaches the driver with its text
        versions.must_be(self._code)
        began, reports = time.monotonic(), list[Report]()
        with reporter.heard_by(self._listener):
            for report in self._running.reports():
                reports.append(report)
                if time.monotonic() - began >= self._report_seconds:
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
