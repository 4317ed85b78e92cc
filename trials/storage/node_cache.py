"""What the workers of one machine share on its own disk: decoded images, and artifacts fetched from
afar.

All of it can be had again, so the folder may be deleted at any time that nothing runs.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:
    # Windows: two processes may then do the same work, and the last one's file stays
    fcntl = None  # type: ignore[assignment]

VARIABLE = "POISONSWEEP_CACHE"


def folder() -> Path:
    """``$POISONSWEEP_CACHE``, or ``~/.cache/poisonsweep``."""
    return Path(os.environ.get(VARIABLE) or "~/.cache/poisonsweep").expanduser()


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock of one cached file, so that workers which start together make it once.

    Freed if a holder dies.
    """
    with path.with_suffix(".lock").open("w") as stream:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                # a file system without locks: the work is done twice
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield
