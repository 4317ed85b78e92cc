"""Files that appear whole or not at all: in a folder of this machine, or at a URI that fsspec knows
(s3://, gs://).

Names are relative, with ``/`` between their parts. A name that begins with a dot is a file half
written.
"""

import contextlib
import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from trials.spec import SpecError
from trials.whole import durably, whole

# the disk is full, or what a user or a file may take of it
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
STALE = 24 * 3600  # seconds after which an unfinished file has no writer any more
# seconds between two checkpoints of a trial, and before its first: a short one writes none
CHECKPOINT_EVERY = 60.0


class BlobStore(Protocol):
    """Where files are put whole; what fails raises OSError, and FileNotFoundError means that the
    file is not there.
    """

    def put(self, name: str, data: bytes) -> None: ...

    def get(self, name: str) -> bytes: ...

    def has(self, name: str) -> bool: ...

    def drop(self, name: str) -> None: ...

    def names(self) -> list[str]:
        """The files that lie in it directly, sorted."""
        ...


def is_uri(where: str) -> bool:
    return "://" in where


def masked(where: str) -> str:
    """A path or URI for people: no name or password in it."""
    return re.sub(r"://([^/@\s]*:[^@\s]*|[^/@]*)@", "://", where)


def blobs_at(where: str) -> BlobStore:
    """The folder at a path or URI. Raises SpecError for a URI that cannot be used."""
    return RemoteBlobStore(where) if is_uri(where) else LocalBlobStore(where)


class LocalBlobStore:
    """A folder of this machine, or one that it has mounted."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)

    def put(self, name: str, data: bytes) -> None:
        with whole(self._root / name) as part:
            durably(part, data)

    def get(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def has(self, name: str) -> bool:
        return (self._root / name).is_file()

    def drop(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The files, once those are dropped that killed writers left long ago."""
        if not self._root.is_dir():
            return []
        for part in self._root.glob(".*"):
            with contextlib.suppress(FileNotFoundError):  # its writer has just finished
                if time.time() - part.stat().st_mtime > STALE:
                    part.unlink()
        return sorted(
            p.name for p in self._root.iterdir() if p.is_file() and not p.name.startswith(".")
        )


class RemoteBlobStore:
    """A folder at a URI of fsspec's."""

    def __init__(self, uri: str) -> None:
        import fsspec  # noqa: PLC0415  (a second, which those who keep all on this machine need not wait)

        self._said, protocol = masked(uri), uri.split("://", maxsplit=1)[0]
        if protocol == "memory":
            raise SpecError(
                "artifacts in memory:// are lost with their process. Write a folder, or s3://, "
                "gs://, ..."
            )
        options: dict[str, Any] = {"use_listings_cache": False}  # what others write is seen at once
        if protocol in {"file", "local"}:
            options["auto_mkdir"] = True
        try:
            self._files, base = fsspec.core.url_to_fs(uri, **options)
        except (ValueError, ImportError, OSError) as problem:
            raise SpecError(
                f"artifacts cannot lie at {self._said!r}: {_line(problem)}"
            ) from problem
        self._base = str(base).rstrip("/")

    def put(self, name: str, data: bytes) -> None:
        folder, _, last = self._path(name).rpartition("/")
        part = f"{folder}/.{last}.{uuid.uuid4().hex}"
        with self._speaking(name, "written"):
            self._files.pipe_file(part, data)
            self._files.mv(part, self._path(name))

    def get(self, name: str) -> bytes:
        with self._speaking(name, "read"):
            return bytes(self._files.cat_file(self._path(name)))

    def has(self, name: str) -> bool:
        with self._speaking(name, "looked up"):
            return bool(self._files.exists(self._path(name)))

    def drop(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._speaking(name, "deleted"):
            self._files.rm_file(self._path(name))

    def names(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError), self._speaking("", "listed"):
            entries = self._files.ls(self._base, detail=True)
            found = [e["name"].rpartition("/")[2] for e in entries if e["type"] == "file"]
            return sorted(n for n in found if n and not n.startswith("."))
        return []

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}".rstrip("/")

    @contextlib.contextmanager
    def _speaking(self, name: str, done: str) -> Iterator[None]:
        """Whatever a service's client raises is an OSError that names the file."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as problem:
            raise OSError(f"{self._said}/{name} could not be {done}: {_line(problem)}") from problem


def _line(problem: Exception) -> str:
    return masked((str(problem).strip().splitlines() or [type(problem).__name__])[0])
