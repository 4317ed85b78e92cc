"""A TMPDIR that is too long for the path of a socket stops neither worker processes nor a Ray of
our own.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweep.execution import sockets
from trials.spec import SpecError

ROOT = Path(__file__).parents[3]
FORKS = """
import os, sys, tempfile
from pathlib import Path
from sweep.execution import forkserver
forkserver.PRELOADED.clear()
assert forkserver.ask(os.getppid) != os.getppid()
print(tempfile.gettempdir(), multiprocessing.util.get_temp_dir())
"""


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A folder whose path alone takes as many bytes as a socket's may have."""
    folder = tmp_path / ("x" * (108 - len(str(tmp_path))))
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_forks_start_and_their_sockets_lie_in_a_folder_of_ones_own(long: Path) -> None:
    code = "import multiprocessing.util\n" + FORKS
    environment = {**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    usual, folder = done.stdout.split()
    assert usual == str(long)
    assert len(folder) < 75
    assert not Path(folder).exists()  # it has gone with the process


def test_the_usual_folder_stays_where_it_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/x")
    with sockets.near():
        assert tempfile.gettempdir() == "/x"
    monkeypatch.setenv("TMPDIR", "/x")
    assert sockets.for_ray.__wrapped__() is None


def test_the_usual_folder_is_back_after_the_block(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with sockets.near():
        assert len(tempfile.gettempdir()) < 20
    assert tempfile.gettempdir() == str(long)


def test_without_a_short_folder_one_line_says_what_to_do(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(sockets, "_SHORT", ("/nowhere",))
    with (
        pytest.raises(SpecError, match=r"TMPDIR names .* at most \d+ characters\.$") as refused,
        sockets.near(),
    ):
        pass
    assert "\n" not in str(refused.value)


@pytest.mark.ray
@pytest.mark.slow
def test_a_ray_of_our_own_starts(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray  # noqa: PLC0415

    from sweep.execution.ray_tune.connection import connect  # noqa: PLC0415

    monkeypatch.setenv("TMPDIR", str(long))
    sockets.for_ray.cache_clear()
    try:
        connect(None, ship=False)
        folder = sockets.for_ray()
        assert folder is not None
        assert Path(folder).parent.stat().st_mode & 0o777 == 0o700
        assert list(Path(folder).glob("session_*/sockets/*"))
        assert ray.get(ray.remote(lambda: os.getpid() + 0).remote()) != os.getpid()
    finally:
        ray.shutdown()
        sockets.for_ray.cache_clear()
