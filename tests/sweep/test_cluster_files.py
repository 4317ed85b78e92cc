"""The files for clusters keep the rules of those who read them, and name versions that are ours."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep.compute import WAVES, compute_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "cluster"
SCRIPTS = [FOLDER / "slurm.sbatch", ROOT / "tests" / "sweep" / "two_namespaces.sh"]


@pytest.fixture
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "raycluster.yaml").read_text())
    return found


def groups(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_scripts_parse(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False).returncode == 0


def test_the_manifest_is_a_ray_cluster_with_all_that_its_api_requires(manifest: dict[str, Any]) -> None:
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])
    for group in groups(manifest):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert group["template"]["spec"]["containers"]
    for worker in manifest["spec"]["workerGroupSpecs"]:
        assert worker["groupName"]
        assert 0 <= worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]


def test_every_pod_has_the_image_of_the_pinned_ray_and_equal_requests_and_limits(manifest: dict[str, Any]) -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert manifest["spec"]["rayVersion"] == pins["ray"]
    for group in groups(manifest):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        assert container["image"].endswith(f"-ray{pins['ray']}")
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {e["name"] for e in container["env"]}


def test_only_the_head_knows_the_store_and_nobody_writes_its_password_down(manifest: dict[str, Any]) -> None:
    head, *workers = (group["template"]["spec"]["containers"][0] for group in groups(manifest))
    assert head["envFrom"] == [{"secretRef": {"name": "poisonsweep-store"}}]
    assert head["resources"]["limits"].keys() == {"cpu", "memory"}
    for container in [head, *workers]:
        assert "POISONSWEEP_STORE" not in {e["name"] for e in container["env"]}
    assert not any("envFrom" in worker for worker in workers)


def test_the_tables_of_the_page_are_what_a_sweep_accepts() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    compute = compute_of(tomllib.loads(block)["compute"])
    assert {wave for wave in WAVES if getattr(compute, wave)} == {"victims", "copies", "detectors"}
    assert compute.memory == 6 * 2**30
    assert compute.wave("victims").wants == {"CPU": 8, "GPU": 1, "memory": 6 * 2**30}


def test_the_files_that_the_page_names_are_there() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    named = set(re.findall(r"(?:examples|tests|benchmarks)/[\w/.]+\.\w+", text))
    assert named >= {"examples/cluster/slurm.sbatch", "examples/cluster/raycluster.yaml"}
    assert [name for name in named if not (ROOT / name).is_file()] == []
