"""The command line with a place that notes each trial that a worker really starts: run this file as
a program.
"""

import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

from sweep.execution.worker import WorkerConfig
from trials.spec import Record, Trial
from trials.trial_run import Reports


@dataclass(frozen=True)
class Traced(WorkerConfig):
    """Leaves a file named by trial and process when a trial starts, and runs it as any place does.

    The file holds the worker's environment, if that says TRACE_ENVIRONMENT. If it says
    TRACE_DRIVERS=N, a trial that tunes waits until N drivers have started one.
    """

    def perform(self, trial: Trial) -> Reports[Record]:
        marks = Path(self.artifacts) / "marks"
        marks.mkdir(parents=True, exist_ok=True)
        driver = os.getpid() if multiprocessing.parent_process() is None else os.getppid()
        noted = str(dict(os.environ)) if "TRACE_ENVIRONMENT" in os.environ else ""
        (marks / f"{trial.id}.{driver}.{time.time_ns()}").write_text(noted)
        wanted, end = int(os.environ.get("TRACE_DRIVERS", "0")), time.monotonic() + 600
        while trial.game.name == "tuning" and time.monotonic() < end:
            if len({driver for _, driver in starts(Path(self.artifacts))}) >= wanted:
                break
            time.sleep(0.05)
        return (yield from super().perform(trial))


def starts(artifacts: Path) -> list[tuple[str, int]]:
    """(trial id, process id of the driver) of every trial that was started."""
    return [
        (f.name.split(".")[0], int(f.name.split(".")[1])) for f in (artifacts / "marks").glob("*")
    ]


if __name__ == "__main__":
    import traced  # the class by its module's name, so that worker processes find it

    from sweep.cli import main
    from sweep.execution import runner

    usual = runner.worker_config_of

    def worker_config_of(*words: object) -> WorkerConfig:
        worker_config = usual(*words)  # type: ignore[arg-type]
        return traced.Traced(worker_config.artifacts, worker_config.device, worker_config.threads)

    runner.worker_config_of = worker_config_of  # type: ignore[assignment]
    main()
