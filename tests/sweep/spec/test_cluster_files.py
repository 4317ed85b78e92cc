"""The files for clusters keep the rules of those who read them, and name versions that are ours."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.spec.compute import STAGES, compute_of

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "examples" / "cluster"
TWO_NODES = ROOT / "tests" / "sweep" / "execution" / "ray_tune" / "two_namespaces.sh"
SCRIPTS = [FOLDER / "slurm.sbatch", TWO_NODES]


@pytest.fixture
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "raycluster.yaml").read_text())
    return found


def groups(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_scripts_parse(script: Path) -> None:
    assert (
        subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False).returncode
        == 0
    )


def test_the_manifest_is_a_ray_cluster_with_all_that_its_api_requires(
    manifest: dict[str, Any],
) -> None:
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])
    for group in groups(manifest):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert group["template"]["spec"]["containers"]
    for worker in manifest["spec"]["workerGroupSpecs"]:
        assert worker["groupName"]
        assert 0 <= worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]


def test_every_pod_has_the_image_of_the_pinned_ray_and_equal_requests_and_limits(
    manifest: dict[str, Any],
) -> None:
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert manifest["spec"]["rayVersion"] == pins["ray"]
    for group in groups(manifest):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        assert container["image"].endswith(f"-ray{pins['ray']}")
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert {m["name"] for m in container["volumeMounts"]} == {
            v["name"] for v in spec["volumes"]
        }
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {e["name"] for e in container["env"]}


def test_only_the_head_knows_the_store_and_nobody_writes_its_password_down(
    manifest: dict[str, Any],
) -> None:
    head, *workers = (group["template"]["spec"]["containers"][0] for group in groups(manifest))
    assert head["envFrom"] == [{"secretRef": {"name": "poisonsweep-store"}}]
    assert head["resources"]["limits"].keys() == {"cpu", "memory"}
    for container in [head, *workers]:
        assert "POISONSWEEP_STORE" not in {e["name"] for e in container["env"]}
    assert not any("envFrom" in worker for worker in workers)


def test_the_tables_of_the_page_are_what_a_sweep_accepts() -> None:
    (block,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL
    )
    compute = compute_of(tomllib.loads(block)["compute"])
    assert {stage for stage in STAGES if getattr(compute, stage)} == {
        "victims",
        "copies",
        "detectors",
    }
    assert compute.memory == 6 * 2**30
    assert compute.stage("victims").wants == {"CPU": 8, "GPU": 1, "memory": 6 * 2**30}


def test_the_files_that_the_page_names_are_there() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    named = set(re.findall(r"(?:examples|tests|benchmarks)/[\w/.]+\.\w+", text))
    assert named >= {"examples/cluster/slurm.sbatch", "examples/cluster/raycluster.yaml"}
    assert [name for name in named if not (ROOT / name).is_file()] == []


def ran(folder: Path, job: int, **environment: str) -> dict[str, str]:
    """What the script for SLURM asks of Ray and of us in a job of two nodes, by ``head``,
    ``worker`` and ``driver``.
    """
    folder.mkdir()
    programs = {
        "scontrol": "printf '%s\\n' one two",
        "hostname": "echo 10.0.0.1",
        "srun": f'while [ "$1" != ray ]; do shift; done; echo "$@" >>{folder}/asked',
        "ray": "exit 0",
        "poisonsweep": f'echo "$@" >driver; until [ "$(wc -l <{folder}/asked)" = 2 ]; do sleep '
        "0.02; done",
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    given = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NODELIST": "x",
    }
    words = ["bash", str(FOLDER / "slurm.sbatch"), "sweep.toml"]
    done = subprocess.run(
        words, env=given | environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    asked = (folder / "asked").read_text().splitlines()
    found = {("head" if "--head" in line else "worker"): line for line in asked}
    return {**found, "driver": (folder / "driver").read_text()}


def ports(line: str) -> dict[str, int]:
    """The ports that a call of ``ray start`` names."""
    return {name: int(number) for name, number in re.findall(r"--([\w-]*port)=(\d+)", line)}


def test_no_port_of_one_job_is_that_of_another(tmp_path: Path) -> None:
    taken: list[int] = []
    for job in (4711, 4712, 4713, 123_456_789):
        said = ran(tmp_path / str(job), job)
        head, worker = ports(said["head"]), ports(said["worker"])
        assert head.keys() == {
            *("port", "ray-client-server-port", "dashboard-port", "dashboard-agent-listen-port"),
            *("min-worker-port", "max-worker-port"),
        }
        # 0 lets the system choose
        fixed = {number for number in [*head.values(), *worker.values()] if number}
        assert len(fixed) == 4
        # below those that systems give away
        assert all(20_000 <= number < 32_768 for number in fixed)
        assert f"--address=10.0.0.1:{head['port']}" in said["worker"]
        assert f"--address 10.0.0.1:{head['port']} " in said["driver"]
        taken += fixed
    assert len(set(taken)) == len(taken)


def test_the_port_can_be_chosen(tmp_path: Path) -> None:
    assert ports(ran(tmp_path / "x", 1, RAY_PORT="7000")["head"])["port"] == 7000
