"""Waiting for what other processes do, and killing one of them."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from made_up import Made
from programs import HANGS

SOON = 180  # seconds in which what nobody needs any more has ended, on a slow machine


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def eventually(what: Callable[[], bool], seconds: float = HANGS) -> bool:
    """Wait until something holds; False if it does not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return what()


def kill_first(worker_config: Made) -> threading.Thread:
    """Kill the worker of the first trial once it has started."""

    def kill() -> None:
        assert eventually(lambda: bool(worker_config.starts()))
        time.sleep(0.1)
        os.kill(worker_config.starts()[0][1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread
