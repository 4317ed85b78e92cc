"""A driver that is killed or interrupted loses nothing that was finished, and leaves nobody
computing.
"""

import os
import signal
from pathlib import Path

import pytest
import tiny_sweep
from programs import Program
from waiting import SOON, alive, eventually

from results.store import Store

pytestmark = pytest.mark.slow
# seconds each, so that a signal meets one
HALF = [{**d, "fixed": {"steps": 60, "batch": 16}} for d in tiny_sweep.DEFENSES]


def start(folder: Path) -> Program:
    file = folder / "tiny.toml"
    compute = {"device": "cpu", "workers": 2}
    table = tiny_sweep.table(confirm=False, judge=False, defenses=HALF, compute=compute)
    file.write_text(tiny_sweep.toml(table))
    words = ["-m", "sweep.cli", "run", str(file), "--local", "--store", f"sqlite:///{folder}/s.db"]
    return Program(words, folder, {**os.environ, "OMP_NUM_THREADS": "1"})


def finished(folder: Path) -> int:
    if not (folder / "s.db").exists():
        return 0
    try:
        with Store.open(f"sqlite:///{folder}/s.db", create=False) as store:
            return len(store.records())
    except ValueError:  # it is being made
        return 0


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_an_interrupted_driver_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """What SIGKILL does is for tests/chaos."""
    driver = start(tmp_path)
    assert eventually(lambda: finished(tmp_path) >= 1 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()
    workers = children(driver.pid)
    assert workers
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate()
    assert driver.returncode == 130
    assert said.splitlines()[-1].startswith("poisonsweep: stopped.")
    assert "Traceback" not in said
    assert eventually(lambda: not any(alive(pid) for pid in workers), SOON)
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        before = {r.trial.id: r.seconds for r in store.records()}
    assert len(before) < 6
    again = start(tmp_path)
    out, said = again.communicate()
    assert again.returncode == 0, said
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        after = {r.trial.id: r.seconds for r in store.records()}
    assert len(after) == 1 + 1 + 4
    assert {i: after[i] for i in before} == before
    assert "were in the store" in out
