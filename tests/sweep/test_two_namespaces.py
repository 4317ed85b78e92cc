"""The command line on two Ray nodes with network addresses of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_sweep

from results.store import Store
from sweep import config, engine

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def namespaces() -> None:
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("network namespaces need root and the command ip")
    name = f"sweep-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"network namespaces are not allowed here: {made.stderr.strip()}")
    subprocess.run(["ip", "netns", "del", name], check=True)


def test_copies_on_one_node_and_trials_on_the_other_give_the_records_of_one_machine(
    namespaces: None, tmp_path: Path
) -> None:
    waves = {"copies": {"resources": {"first": 1}}, "trials": {"resources": {"second": 1}}}
    file = tmp_path / "tiny.toml"
    file.write_text(tiny_sweep.toml(tiny_sweep.table(compute={"device": "cpu", **waves})))
    script = Path(__file__).with_name("two_namespaces.sh")
    run = [sys.executable, "-m", "sweep.cli", "run", str(file), "--store", f"sqlite:///{tmp_path}/two.db"]
    done = subprocess.run(
        ["bash", str(script), sys.executable, *run, "--address", "10.231.7.1:6379"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ran 9 trials (0 failed" in done.stdout
    with (
        Store.open(f"sqlite:///{tmp_path}/two.db") as two,
        Store.open(f"sqlite:///{tmp_path}/here.db") as here,
    ):
        engine.execute(tiny_sweep.sweep(), here, tiny_sweep.place(tmp_path / "here"), use_ray=False)
        assert tiny_sweep.outcomes(two) == tiny_sweep.outcomes(here)
    assert config.read(file).compute.trials == waves["trials"]
