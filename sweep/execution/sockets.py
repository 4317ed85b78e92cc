"""Where sockets lie: a socket's path may have some 100 bytes, so that a long TMPDIR cannot hold
them.
"""

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

from trials.spec import SpecError

_LONGEST = 107 if sys.platform == "linux" else 103  # bytes
_SHORT = ("/var/tmp", "/dev/shm")
_FORKS = len("/pymp-12345678/listener-12345678")
# bytes of the longest path that Ray makes below its folder, and some to spare
_RAYS = len("/ray/session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store") + 8


@contextlib.contextmanager
def near() -> Iterator[None]:
    """What multiprocessing makes in the block for its sockets lies where their paths are short
    enough.

    Raises:
        SpecError: there is no such place.
    """
    usual = tempfile.gettempdir()
    tempfile.tempdir = _short_enough(usual, _FORKS)
    try:
        yield
    finally:
        tempfile.tempdir = usual


@functools.cache
def for_ray() -> str | None:
    """The folder for a Ray of our own, removed when this process ends; None where Ray's usual one
    will do.

    Raises:
        SpecError: there is no place where its sockets' paths are short enough.
    """
    usual = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or ""
    short = _short_enough(usual, _RAYS)
    if short == usual:
        return None
    folder = tempfile.mkdtemp(prefix="ray-", dir=short)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return f"{folder}/ray"  # which Ray opens to everybody


def _short_enough(usual: str, room: int) -> str:
    """The usual folder, or where paths with ``room`` more bytes would be too long, another."""
    for folder in (usual, *_SHORT):
        fits = len(os.fsencode(folder)) + room <= _LONGEST
        if fits and (folder == usual or os.access(folder, os.W_OK | os.X_OK)):
            return folder
    raise SpecError(
        f"TMPDIR names {usual!r}, which is too long for the path of a socket: set it to a folder "
        "with at most "
        f"{_LONGEST - room} characters."
    )
