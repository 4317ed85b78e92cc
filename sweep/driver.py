"""One driver among those that share a store: its name, its lease, and the thread that keeps its claims alive."""

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from results.store import Store
from trials.spec import SpecError

BEATS = 4  # renewals in the time of a lease
_LOST = (SpecError, SQLAlchemyError)  # the driver's own calls wait for the database, and say so


def _name() -> str:
    return f"{socket.gethostname()}:{_machine()}:{os.getpid()}:{_began(os.getpid())}:{uuid.uuid4().hex[:8]}"


def _machine() -> str:
    """The same for processes that see one another by their numbers; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return f"{boot[:8]}-{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:
        return ""


def _began(process: int) -> str:
    """When a process started, in clock ticks since the boot; empty for one that is not there, or has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def dead(name: str) -> bool:
    """True for a driver of this machine whose process is surely gone; of another machine nothing is known."""
    parts = name.split(":")
    if len(parts) != 5 or not parts[1] or parts[1] != _machine() or not parts[2].isdecimal():
        return False
    return _began(int(parts[2])) != parts[3]


@dataclass(frozen=True, slots=True)
class Driver:
    """Who claims trials, and for how long.

    Args:
        lease: seconds after which the claims of a driver that was killed end.
        name: the same for no two drivers.
    """

    lease: float = 60.0
    name: str = field(default_factory=_name)

    @contextlib.contextmanager
    def alive(self, store: Store) -> Iterator[None]:
        """Renew the claims while the block runs; end them with it, however it ends.

        Claims of drivers of this machine that were killed end at once, so that the same command need not wait for them.
        """
        for owner in filter(dead, store.owners()):
            store.release(owner)
        over, once = threading.Event(), store.patient(0)

        def beat() -> None:
            while not over.wait(self.lease / BEATS):
                with contextlib.suppress(*_LOST):
                    once.renew(self.name, self.lease)

        thread = threading.Thread(target=beat, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(self.lease)
            with contextlib.suppress(*_LOST):
                once.release(self.name)
