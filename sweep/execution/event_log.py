"""What ran where: a worker adds a line when a trial starts and when it ends, for people who look
for a bad machine.

One file a process, ``events/HOST-PID.jsonl``. It decides nothing: the store is the only truth.
"""

import contextlib
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path


def note(scratch: Path, trial_id: str, event: str) -> None:
    """Add a line to this process's file; a disk that is full costs the line, not the trial.

    Args:
        scratch: the artifacts folder, or with artifacts at a URI the node's own cache.
        trial_id: the trial.
        event: ``started``, or the status it ended with. A start without an end is a worker that was
            lost.
    """
    folder = scratch / "events"
    line = json.dumps({"time": datetime.now(UTC).isoformat(), "trial": trial_id, "event": event})
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{socket.gethostname()}-{os.getpid()}.jsonl").open(
            "a", encoding="utf-8"
        ) as stream:
            stream.write(line + "\n")
