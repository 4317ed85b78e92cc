"""The command line on two Ray nodes with network addresses of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_sweep
from counting import repeated, started
from programs import HANGS

from results.store import Store
from sweep.execution import runner
from sweep.spec import sweep_file

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos]
ROOT = Path(__file__).resolve().parents[4]


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
    namespaces: None, tmp_path: Path, count: Callable[..., None]
) -> None:
    stages = {"copies": {"resources": {"first": 1}}, "trials": {"resources": {"second": 1}}}
    file = tmp_path / "tiny.toml"
    file.write_text(tiny_sweep.toml(tiny_sweep.table(compute={"device": "cpu", **stages})))
    script = Path(__file__).with_name("two_namespaces.sh")
    run = [
        sys.executable,
        "-m",
        "sweep.cli",
        "run",
        str(file),
        "--store",
        f"sqlite:///{tmp_path}/two.db",
    ]
    with subprocess.Popen(
        ["bash", str(script), sys.executable, *run, "--address", "10.231.7.1:6379"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as cluster:
        try:
            with Store.open(f"sqlite:///{tmp_path}/here.db") as here:  # while the nodes start
                alone = tiny_sweep.sweep(compute={"device": "cpu", "workers": 1})
                config = tiny_sweep.worker_config(tmp_path / "here")
                runner.execute(alone, here, config, use_ray=False)
                wanted = tiny_sweep.outcomes(here)
            said, errors = cluster.communicate(timeout=HANGS)
        finally:
            cluster.terminate()  # where it has not ended; the script then removes its namespaces
    assert cluster.returncode == 0, errors
    assert "ran 9 trials (0 failed" in said
    with Store.open(f"sqlite:///{tmp_path}/two.db") as two:
        found, artifacts = tiny_sweep.outcomes(two), tmp_path / "artifacts"
    differ = sum(found.get(i) != wanted.get(i) for i in found.keys() | wanted.keys())
    executions = len(started(artifacts))
    count(
        "two nodes, two networks",
        kills=0,
        worker_lost=0,
        trials=len(found),
        executions=executions,
        differ=differ,
    )
    assert "lost workers" not in said
    assert repeated(artifacts, found, 0) == 0
    assert found == wanted
    assert sweep_file.read(file).compute.trials == stages["trials"]
