"""What a worker process is, whatever started it: a runtime with its threads set, a time limit, a
driver to die with.
"""

import contextlib
import faulthandler
import functools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sweep.execution.event_log import note
from sweep.spec.compute import Compute
from trials.spec import Record, SpecError, Trial
from trials.storage import node_cache
from trials.storage.blobs import CHECKPOINT_EVERY, BlobStore, blobs_at, is_uri
from trials.trial_run import Reports, TrialRun

if TYPE_CHECKING:
    from trials.runtime import TrialRuntime

TELLING = 30.0  # seconds that a last word may take on its way to a URI


@dataclass(frozen=True)
class WorkerConfig:
    """Where trials run: the artifacts (an absolute folder or a URI), the device, torch's threads a
    trial, the seconds between two checkpoints of a trial, those that it may take, and the name of
    the sweep that asks for them.
    """

    artifacts: str
    device: str = "cpu"
    threads: int = 1
    checkpoint: float = CHECKPOINT_EVERY
    time_limit: float = 0  # 0: none
    sweep: str = ""  # "": nobody said

    @property
    def outbox(self) -> BlobStore:
        """The folder of pending records: beside the artifacts, so the driver sees every node's."""
        return blobs_at(f"{self.artifacts.rstrip('/')}/outbox")

    @property
    def scratch(self) -> Path:
        """A folder of this machine for an executor's temporary files and for the event log."""
        return node_cache.folder() if is_uri(self.artifacts) else Path(self.artifacts)

    def timeout_trace(self, trial_id: str) -> Path:
        """The file into which a trial writes its traceback when it reaches its time limit."""
        return self.scratch / "outbox" / timeout_trace_name(trial_id)

    def perform(self, trial: Trial) -> Reports[Record]:
        """The trial's reports as they come, then its record, on this process's runtime."""
        import torch  # noqa: PLC0415

        from trials.run import perform  # noqa: PLC0415  (loads torch)

        note(self.scratch, trial.id, "started")
        runtime = _runtime(replace(self, threads=1, time_limit=0, sweep=""))
        torch.set_num_threads(self.threads)
        running = perform(trial, runtime)
        yield from running.reports()
        note(self.scratch, trial.id, running.record.status)
        return running.record


def with_resources(worker_config: WorkerConfig, share: Compute) -> WorkerConfig:
    """The place of a trial that gets this share."""
    return replace(worker_config, threads=share.threads, time_limit=share.time_limit)


def make_runtime(worker_config: WorkerConfig) -> "TrialRuntime":
    """A runtime in this process; sets torch's threads, since more threads than cores is far slower
    than fewer.
    """
    import torch  # noqa: PLC0415  (a driver that only plans never gets here)

    from trials.runtime import TrialRuntime  # noqa: PLC0415
    from trials.storage.remote_artifacts import artifacts_at  # noqa: PLC0415

    torch.set_num_threads(worker_config.threads)
    return TrialRuntime(
        artifacts_at(worker_config.artifacts),
        device_for(worker_config.device),
        worker_config.checkpoint,
    )


_runtime = functools.lru_cache(1)(make_runtime)  # kept warm for this process's next trial


def perform(trial: Trial, worker_config: WorkerConfig) -> TrialRun:
    """Run the trial; past its time limit this process ends itself, whatever it is doing.

    A thread of C does that, so code that never gives back Python's lock is ended too. Where it hung
    goes to a file that the outbox's ``last_word`` reads. Time between the steps does not count.
    """
    running = TrialRun(worker_config.perform(trial))
    return (
        TrialRun(_within_limit(running, trial, worker_config))
        if worker_config.time_limit
        else running
    )


def _within_limit(running: TrialRun, trial: Trial, worker_config: WorkerConfig) -> Reports[Record]:
    reports = running.reports()
    left = worker_config.time_limit
    timeout_trace = worker_config.timeout_trace(trial.id)
    timeout_trace.parent.mkdir(parents=True, exist_ok=True)
    with timeout_trace.open("w") as stream:
        while True:
            began = time.monotonic()
            with _limited(worker_config, trial.id, max(left, 0.001), stream):
                report = next(reports, None)
            if report is None:
                return running.record
            left -= time.monotonic() - began
            yield report


@contextlib.contextmanager
def _limited(
    worker_config: WorkerConfig, trial_id: str, seconds: float, stream: TextIO
) -> Iterator[None]:
    """End this process if the block takes longer.

    The driver may be on another machine and not see this one's disk, so where the artifacts lie at
    a URI a thread of Python puts the last word there first; C's waits for it.
    """
    teller = None
    if is_uri(worker_config.artifacts):
        teller = threading.Timer(seconds, _tell, (worker_config, trial_id, stream))
        teller.daemon = True
        teller.start()
    faulthandler.dump_traceback_later(seconds + (TELLING if teller else 0), exit=True, file=stream)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if teller:
            teller.cancel()


def _tell(worker_config: WorkerConfig, trial_id: str, stream: TextIO) -> None:
    print("Timeout: its process was ended.", file=stream, flush=True)
    faulthandler.dump_traceback(stream)
    with contextlib.suppress(OSError):
        worker_config.outbox.put(
            timeout_trace_name(trial_id), worker_config.timeout_trace(trial_id).read_bytes()
        )
    os._exit(1)


def timeout_trace_name(trial_id: str) -> str:
    """The file of the outbox that tells where a trial hung."""
    return f".{trial_id}.late"


def spoilt(record: Record) -> bool:
    """True where a trial ran out of memory or broke its GPU's context: its process should run no
    other.
    """
    return record.status == "failed" and any(sign in (record.error or "") for sign in _SPOILT)


_SPOILT = (
    "MemoryError",
    "can't allocate memory",
    "CUDA error",
    "AcceleratorError",
    "CUBLAS_STATUS",
    "CUDNN_STATUS",
)


def die_with_the_driver() -> None:
    """End this process as soon as the one that started it is gone: a killed driver leaves nobody
    computing.
    """
    driver = multiprocessing.parent_process()
    assert driver is not None

    def watch() -> None:
        driver.join()  # the system says when: nobody has to look again and again
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def device_for(wanted: str) -> str:
    """The torch device for ``auto``, ``cpu`` or ``cuda``.

    Raises SpecError for a GPU where there is none.
    """
    if wanted == "cpu" or (wanted == "auto" and not _may_have_gpus()):
        return "cpu"
    import torch  # noqa: PLC0415

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        count, number = (
            torch.cuda.device_count(),
            wanted.removeprefix("cuda").removeprefix(":") or "0",
        )
        if not torch.cuda.is_available():
            raise SpecError(
                f'device is {wanted!r}, but torch sees no GPU here. Write device = "auto" or "cpu".'
            )
        if not number.isdecimal() or int(number) >= count:
            raise SpecError(
                f"device is {wanted!r}, but torch sees {count} GPUs here, counted from 0."
            )
    return wanted


# what NVIDIA's, Tegra's, AMD's and Windows' drivers show; the first file may come with the first
# use only
_DRIVERS = (
    *(
        "/dev/nvidiactl",
        "/proc/driver/nvidia",
        "/sys/module/nvidia",
        "/dev/nvmap",
        "/dev/nvhost-gpu",
    ),
    *("/dev/kfd", "/sys/module/amdgpu", "/dev/dxg"),
)


def _may_have_gpus() -> bool:
    """False where the system surely drives none, so that torch need not be loaded and asked."""
    return sys.platform != "linux" or any(Path(p).exists() for p in _DRIVERS)
