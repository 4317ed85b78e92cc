"""One driver among those that share a store: its name, its lease, and the thread that keeps its
claims alive.
"""

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
    mine = _began(os.getpid()) if _machine() else ""
    return f"{socket.gethostname()}:{_machine()}:{os.getpid()}:{mine}:{uuid.uuid4().hex[:8]}"


def _machine() -> str:
    """The same for processes that see one another by their numbers; empty where that cannot be
    told.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return f"{boot[:8]}-{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:
        return ""


def _began(process: int) -> str:
    """When a process started, in clock ticks since the boot; empty for one that has ended.

    Raises OSError.
    """
    fields = (
        Path(f"/proc/{process}/stat")
        .read_text(encoding="utf-8", errors="replace")
        .rpartition(")")[2]
        .split()
    )
    return "" if fields[0] in "ZX" else fields[19]


def dead(name: str) -> bool:
    """True for a driver of this machine whose process is surely gone; of another machine nothing is
    known.
    """
    host, _, rest = name.partition(":")
    machine, _, rest = rest.partition(":")
    process, _, rest = rest.partition(":")
    if (
        host != socket.gethostname()
        or not machine
        or machine != _machine()
        or not process.isdecimal()
    ):
        return False
    try:
        os.kill(int(process), 0)
        return _began(int(process)) != rest.partition(":")[0]
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it lives, and is another user's, or hidden
        return False


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
        """Renew the claims while the block runs; end them with it, however it ends."""
        release_the_dead(store)
        over, once = threading.Event(), store.patient(0)

        def beat() -> None:
            pause = self.lease / BEATS
            while not over.wait(pause):
                try:
                    once.renew(self.name, self.lease)
                    pause = self.lease / BEATS
                except _LOST:
                    # once the database is back, this driver has to renew its claims before
                    # another one takes them over
                    pause = min(0.5, self.lease / BEATS)

        thread = threading.Thread(target=beat, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(self.lease)
            with contextlib.suppress(*_LOST):
                once.release(self.name)


def release_the_dead(store: Store) -> None:
    """End the claims of this machine's drivers that were killed, so that the same command need not
    wait for them.
    """
    for owner in filter(dead, store.owners()):
        store.release(owner)
