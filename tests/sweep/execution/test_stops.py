"""Ctrl-C, SIGTERM and SIGHUP alike: a training writes its checkpoint, claims end, nobody is left,
one line, a code.
"""

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_sweep
from programs import HANGS, Program, ended_with_test
from waiting import SOON, alive, eventually

from results.store import Store
from trials.storage.checkpoint import _unpacked

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
LONG = {
    **tiny_sweep.VICTIM,
    "training": {"name": "fast", "epochs": 20_000, "batch": 700, "peak": 0.05},
}
# between two checkpoints; many times as long as an epoch, at whose end one may be written
SECONDS = 4
HOW = ["inline", "pool", pytest.param("ray", marks=pytest.mark.ray)]


def words_of(folder: Path, how: str = "pool") -> list[str]:
    """A sweep of two long trainings."""
    compute = {"device": "cpu", "workers": 1 if how == "inline" else 2}
    victim = {**LONG, "seeds": [0] if how == "inline" else [0, 1]}
    file = folder / "tiny.toml"
    file.write_text(
        tiny_sweep.toml(tiny_sweep.table(game="training", victim=victim, compute=compute))
    )
    local = [] if how == "ray" else ["--local"]
    return ["-m", "sweep.cli", "run", str(file), *local, "--store", f"sqlite:///{folder}/s.db"]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    extra = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    extra["POISONSWEEP_CHECKPOINT_SECONDS"] = str(SECONDS)
    return {**kept, **extra}


def checkpoints(folder: Path) -> list[Path]:
    return list((folder / "artifacts" / "checkpoints").glob("[!.]*.safetensors"))


def training(folder: Path, number: int, over: Callable[[], bool]) -> None:
    """Wait until so many trainings are well under way, and drop the checkpoints that they wrote by
    themselves: each has something new to write, and will not do so by itself for a while.
    """
    assert eventually(lambda: over() or len(checkpoints(folder)) == number)
    assert not over()
    for file in checkpoints(folder):
        file.unlink()
    time.sleep(SECONDS / 4)


def ended_well(folder: Path, said: str, number: int) -> None:
    """What the signal has to have led to."""
    assert said.splitlines()[-1].startswith(
        "poisonsweep: stopped. Everything finished is stored"
    ), said
    assert "Traceback" not in said
    assert len(checkpoints(folder)) == number
    for file in checkpoints(folder):
        assert _unpacked(file.read_bytes())[1]["position"]["step"] > 0
    with Store.open(f"sqlite:///{folder}/s.db", create=False) as store:
        assert not store.owners()
        assert not store.records()


def working(folder: Path) -> list[int]:
    """Workers that still run, by the event logs."""
    files = (folder / "artifacts" / "events").glob("*.jsonl")
    return [pid for pid in (int(f.stem.rpartition("-")[2]) for f in files) if alive(pid)]


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
@pytest.mark.parametrize("how", HOW)
def test_a_signal_ends_a_run_as_ctrl_c_does(
    tmp_path: Path, how: str, number: signal.Signals
) -> None:
    driver = Program(words_of(tmp_path, how), tmp_path, environment())
    trainings = 1 if how == "inline" else 2
    training(tmp_path, trainings, lambda: driver.poll() is not None)
    driver.send_signal(number)
    _, said = driver.communicate()
    assert driver.returncode == CODES[number], said
    ended_well(tmp_path, said, trainings)
    assert eventually(lambda: not working(tmp_path), SOON)


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("pool", signal.SIGTERM),
        ("pool", signal.SIGHUP),
        pytest.param("ray", signal.SIGHUP, marks=pytest.mark.ray),
    ],
)
def test_one_that_all_processes_get_ends_it_alike(
    tmp_path: Path, how: str, number: signal.Signals
) -> None:
    """As from a shell that closes, or from systemd; more than once, too."""
    driver = Program(words_of(tmp_path, how), tmp_path, environment())
    training(tmp_path, 2, lambda: driver.poll() is not None)
    for _ in range(3):
        os.killpg(driver.pid, number)
    _, said = driver.communicate()
    assert driver.returncode == CODES[number], said
    ended_well(tmp_path, said, 2)
    assert eventually(lambda: not working(tmp_path), SOON)


def test_a_step_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    code = """
import signal, time
from sweep.execution import stops
from trials.leaving import leaving
stops.GRACE = 0.5
with stops.listening():
    leaving.keeps = True
    signal.raise_signal(signal.SIGTERM)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        signal.raise_signal(signal.SIGTERM)  # heard already
        print(stops.code())
"""
    driver = Program(["-c", code], tmp_path, environment())
    assert driver.communicate()[0].split() == ["143"]


def test_what_is_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    """As after nohup."""
    words = words_of(tmp_path, "inline")[2:]
    code = (
        f"import signal, sys; signal.signal(1, signal.SIG_IGN); from sweep.cli import main; "
        f"main({words!r})"
    )
    driver = Program(["-c", code], tmp_path, environment())
    training(tmp_path, 1, lambda: driver.poll() is not None)
    driver.send_signal(signal.SIGHUP)
    training(tmp_path, 1, lambda: driver.poll() is not None)
    driver.send_signal(signal.SIGTERM)
    _, said = driver.communicate()
    assert driver.returncode == 143, said
    ended_well(tmp_path, said, 1)


def test_the_first_process_of_a_container_hears_it(tmp_path: Path) -> None:
    """The system gives PID 1 no signal that it has no handler for."""
    alone = ["unshare", "--pid", "--fork"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no process may have a number space of its own here")
    words = [*alone, sys.executable, *words_of(tmp_path)]
    with (tmp_path / "said").open("wb") as said:
        outer = ended_with_test(
            subprocess.Popen(
                words,
                cwd=tmp_path,
                env=environment(),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        )
    training(tmp_path, 2, lambda: outer.poll() is not None)
    (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
    os.kill(int(inner), signal.SIGTERM)
    assert outer.wait(HANGS) == 143, (tmp_path / "said").read_text()
    ended_well(tmp_path, (tmp_path / "said").read_text(), 2)


def test_a_terminal_that_is_closed_ends_it_in_order(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    driver = subprocess.Popen(
        [sys.executable, *words_of(tmp_path)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    ended_with_test(driver)
    os.close(theirs)
    os.set_blocking(ours, False)

    def over() -> bool:
        with_something = True
        while with_something:
            try:
                with_something = bool(os.read(ours, 65536))  # a full terminal would block it
            except OSError:
                with_something = False
        return driver.poll() is not None

    training(tmp_path, 2, over)
    os.close(ours)
    assert driver.wait(HANGS) == 129
    assert len(checkpoints(tmp_path)) == 2
    with Store.open(f"sqlite:///{tmp_path}/s.db", create=False) as store:
        assert not store.owners()
