"""The loop of a pool's worker: it receives a trial, sends its points and its record, and ends when
the driver closes the connection.
"""

import contextlib
import json
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from typing import Any

from sweep.execution.outbox import Outbox
from sweep.execution.worker import WorkerConfig, device_for, perform, spoilt
from trials.json_forms import to_json, trial_from_json
from trials.leaving import leaving
from trials.reporting import TrialProgress, reporter
from trials.spec import Point


def serve(pipe: "Connection[Any, Any]", worker_config: WorkerConfig, number: int) -> None:
    """A worker's life; it ends too after a record that says that the process is spoilt.

    Args:
        pipe: gives a trial and its share as JSON, takes ("point" or "progress", ...), then
            ("record" or "last", JSON).
        worker_config: where its trials run.
        number: of the worker among the driver's; GPUs are dealt by it.
    """
    if device_for(worker_config.device) == "cuda":
        import torch  # noqa: PLC0415

        worker_config = replace(worker_config, device=f"cuda:{number % torch.cuda.device_count()}")

    def tell(report: TrialProgress) -> None:
        pipe.send(("progress", asdict(report)))

    with contextlib.suppress(EOFError, OSError):
        while True:
            trial, share = json.loads(pipe.recv())
            running = perform(trial_from_json(trial), replace(worker_config, **share))
            with reporter.heard_by(tell):
                for report in running.reports():
                    if isinstance(report, Point):
                        pipe.send(("point", to_json(report)))
                    else:
                        tell(report)
            text, last = Outbox(worker_config).put(running.record), spoilt(running.record)
            pipe.send(("last" if last else "record", text))
            leaving.go()
            if last:  # the driver hires another
                return
