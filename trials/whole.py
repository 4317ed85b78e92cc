"""Files that appear whole or not at all, and may be read and written by whom the umask says: no
more and no less.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write; the file there takes its place when the block ends,
    and goes if it fails.

    The folder is made where it is not there. The file's name begins with a dot and keeps the
    suffix. ``tempfile`` is not used, as its files are for their owner alone whatever the umask
    says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def durably(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
