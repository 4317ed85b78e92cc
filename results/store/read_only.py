"""Reading an SQLite store without changing anything, whoever made the file.

A file from a stranger comes with whatever lies beside it, and SQLite acts on that: it plays back a
rollback journal and deletes the file that the journal names. So companions are looked at before
SQLite is, and readers open the file in a way that writes to nothing.
"""

import os
import pwd
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy.exc import DBAPIError

from trials.spec import SpecError

T = TypeVar("T")
WAIT = 3.0  # seconds; a journal that another driver needs to make its store is gone by then
READS = 5  # times that a file is read which changes meanwhile
_JOURNAL, _LOG, _INDEX = "-journal", "-wal", "-shm"  # what SQLite keeps beside a file


def check_companions(file: Path) -> None:
    """Refuse what SQLite would act on beside a store.

    Raises:
        SpecError: a rollback journal with content, or anything that is no regular file under one of
            SQLite's names.
    """
    until = time.monotonic() + WAIT
    while (found := _dangerous(file)) and time.monotonic() < until:
        time.sleep(0.1)
    if found:
        raise SpecError(
            f"store {str(file)!r} is not opened: {found} lies beside it. poisonsweep leaves no "
            "such file behind, and "
            "SQLite would act on it: it can delete any file of yours. Ask for a copy made with "
            "SQLite's .backup, or, "
            "if you made this store yourself, move that file away."
        )


def _dangerous(file: Path) -> str:
    real = file.resolve()  # as SQLite does before it looks for companions
    for ending in (_JOURNAL, _LOG, _INDEX):
        beside = Path(f"{real}{ending}")
        try:
            found = beside.lstat()
        except FileNotFoundError:
            continue
        except OSError:  # a folder that may not be entered: opening the file says so
            return ""
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            # SQLite would write to what is linked
            return f"{beside.name!r}, which is no regular file of its own,"
        if ending == _JOURNAL and found.st_size:
            return f"the rollback journal {beside.name!r}"
    return ""


def missing_right(file: Path, *, write: bool) -> str:
    """What keeps this user from the store, or "" where nothing does."""
    folder = file.parent
    try:
        if not file.exists():
            lacks = _lacks(folder, os.W_OK | os.X_OK) if write and folder.is_dir() else ""
            return f"no right to make files in the folder {lacks}" if lacks else ""
    except PermissionError:
        return f"no right to enter the folder {_owned(folder)}"
    if lacks := _lacks(file, os.R_OK):
        return f"no right to read {lacks}"
    if write and (lacks := _lacks(file, os.W_OK)):
        return f"no right to write to {lacks}"
    if write and (lacks := _lacks(folder, os.W_OK | os.X_OK)):
        return f"no right to make files in the folder {lacks}, where SQLite keeps its log"
    return ""


def _lacks(path: Path, right: int) -> str:
    effective = os.access in os.supports_effective_ids
    return "" if os.access(path, right, effective_ids=effective) else _owned(path)


def _owned(path: Path) -> str:
    try:
        found = path.stat()
        try:
            owner = pwd.getpwuid(found.st_uid).pw_name
        except KeyError:
            owner = str(found.st_uid)
        return f"{str(path)!r} (owner {owner}, mode {stat.S_IMODE(found.st_mode):04o})"
    except OSError:
        return repr(str(path))


def connect(file: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises sqlite3.Error where the file cannot be read."""
    real = file.resolve()
    if not _in_use(real):
        return _opened(real, "immutable=1")
    if not Path(f"{real}{_INDEX}").exists():
        # without an index of the log nobody has the store open, and SQLite would make an index
        return _in_memory(real)
    try:
        link = _opened(real, "mode=ro")
        link.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return link
    except sqlite3.OperationalError as problem:
        if problem.sqlite_errorcode & 0xFF not in {
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
        }:
            raise
    return _in_memory(real)  # a folder that cannot be written: nobody writes to the store then


def _opened(real: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(real))}?{how}", uri=True, check_same_thread=False)


def _in_memory(real: Path) -> sqlite3.Connection:
    """The store, its log taken in, copied into memory."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "store.db"
        shutil.copyfile(real, copy)
        shutil.copyfile(f"{real}{_LOG}", f"{copy}{_LOG}")
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        source = sqlite3.connect(copy)
        try:
            source.backup(memory)
        finally:
            source.close()
    return memory


def _in_use(real: Path) -> bool:
    """True where a driver has the store open, or left content in its log."""
    log = Path(f"{real}{_LOG}")
    return Path(f"{real}{_INDEX}").exists() or (log.exists() and log.stat().st_size > 0)


def steadily(file: Path, work: Callable[[], T]) -> T:
    """What ``work()`` reads; it is repeated where a driver began to write to a file that nobody had
    open.

    Raises:
        SpecError: that happened each time.
    """
    for _ in range(READS):
        before = _state(file)
        try:
            found = work()
        except DBAPIError:
            if _state(file) == before:
                raise
        else:
            if _state(file) == before:
                return found
    raise SpecError(
        f"store {str(file)!r} changed each time that it was read. Run the command again."
    )


def _state(file: Path) -> tuple[int, int] | None:
    real = file.resolve()
    if _in_use(real):  # then SQLite's own locks keep what is read whole
        return None
    found = real.stat()
    return found.st_mtime_ns, found.st_size
