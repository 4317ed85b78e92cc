"""What no input may touch: a file outside its folder, and more memory than SECURITY.md says."""

import contextlib
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MARK = f"escaped{os.getpid()}"  # in the name of every file that an attack would make
GROWTH = 2**30  # bytes that a command's own process may take for one input
_START, _HOME, _TEMPORARY = Path.cwd(), Path.home(), Path(tempfile.gettempdir())
SYSTEM = (Path("/"), Path("/etc"), Path("/var/tmp"), Path("/dev/shm"), Path("/", "tmp"))
WATCHED = sorted({*SYSTEM, _START, *_START.parents, _HOME, _HOME.parent, _TEMPORARY})


def escapes(where: tuple[Path, ...] = (_START, _HOME, _TEMPORARY)) -> list[str]:
    """Paths that lead out of the folder that they are read in; each ends in a name of its own."""
    up = ["../" * i for i in range(1, 9)]
    homes = (
        "~/",
        "$HOME/",
        "/",
        "//",
        "/./",
        "archive/../../../",
        "..\\..\\",
        "C:\\",
        "/var/tmp/",
        "/dev/shm/",
    )
    return [
        f"{way}{MARK}-{i}"
        for i, way in enumerate([*up, *homes, *(f"{folder}/" for folder in where)])
    ]


def strays() -> list[Path]:
    """Files of an attack that lie in the folders watched."""
    found = []
    for folder in WATCHED:
        with contextlib.suppress(OSError):
            found += [entry for entry in folder.iterdir() if MARK in entry.name]
    return found


@contextlib.contextmanager
def fenced() -> Iterator[Path]:
    """A folder to work in, with a home and a temporary folder of its own; nothing may appear
    anywhere else.

    It is the working directory while it lasts. The file system's root, the real home, the system's
    folders for temporary files and the folder that the tests began in are searched for names with
    the mark.
    """
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        base, inside = Path(name), Path(name) / "inside" / "inside"
        home, temporary = base / "home", base / "tmp"
        for folder in (inside, home, temporary):
            folder.mkdir(parents=True)
        patch.setenv("HOME", str(home))
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.chdir(inside)
        lost: list[Path] = []
        try:
            yield inside
        finally:
            for stray in strays():
                lost.append(stray)
                stray.unlink()  # so that the next input is not blamed
        there = {
            folder: {p.name for p in folder.iterdir()}
            for folder in (base, inside.parent, home, temporary)
        }
        expected = {
            base: {"inside", "home", "tmp"},
            inside.parent: {"inside"},
            home: set(),
            temporary: set(),
        }
        assert there == expected, f"a file was made outside: {there}"
        assert not lost, f"a file was made outside: {lost}"


@contextlib.contextmanager
def lean(most: int = GROWTH) -> Iterator[None]:
    """Fails where the resident memory of this process comes to exceed what it was by more than
    ``most`` bytes.
    """
    with contextlib.suppress(OSError):  # where the peak cannot be set back, only a new one is seen
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak()
    yield
    grown = peak() - before
    assert grown <= most, f"took {grown >> 20} MiB of memory"


def peak(who: int = resource.RUSAGE_SELF) -> int:
    """Bytes of memory that this process, or the largest of its children that ended, has had at
    most.
    """
    return resource.getrusage(who).ru_maxrss * 1024
