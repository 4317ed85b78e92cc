"""One driver among those that share a store: its name, its lease, and the thread that keeps its claims alive."""

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from results.store import Store
from trials.spec import SpecError

BEATS = 4  # renewals in the time of a lease
_LOST = (SpecError, SQLAlchemyError)  # the driver's own calls wait for the database, and say so


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


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
