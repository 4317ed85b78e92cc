"""Limits of containers and jobs, from files as they are shown there, count as the machine's own
size.
"""

import math
from pathlib import Path

import pytest

from sweep.execution import machine, process_pool
from sweep.execution.machine import Limits, limits
from sweep.spec.compute import Compute
from trials.spec import SpecError

GIB = 2**30
NONE = "9223372036854771712"  # of a v1 group without a limit
V2 = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate"
HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"


def v1(top: str = "/") -> str:
    """Mounts of the two controllers, one of them with another, at the group ``top``."""
    return (
        f"32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct ro,nosuid shared:7 - cgroup cgroup "
        "rw,cpu,cpuacct\n"
        f"35 31 0:32 {top} /sys/fs/cgroup/memory ro,nosuid master:9 - cgroup cgroup rw,memory\n"
        f"37 31 0:34 {top} /sys/fs/cgroup/systemd ro,nosuid - cgroup cgroup rw,name=systemd"
    )


def shown(root: Path, groups: str, mounts: str, **files: str) -> Path:
    """A root folder with these lines in /proc/self, and files below /sys/fs/cgroup (``__`` stands
    for a slash).
    """
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(groups + "\n")
    (root / "proc" / "self" / "mountinfo").write_text(
        f"23 1 8:1 / / rw - ext4 /dev/sda rw\n{mounts}\n"
    )
    for name, text in files.items():
        file = root / "sys" / "fs" / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def test_a_container_of_version_2(tmp_path: Path) -> None:
    root = shown(tmp_path, "0::/", V2, cpu_DOT_max="50000 100000", memory_DOT_max=str(2 * GIB))
    assert limits(root) == Limits(0.5, 2 * GIB)


def test_without_a_limit_of_version_2(tmp_path: Path) -> None:
    assert (
        limits(shown(tmp_path, "0::/", V2, cpu_DOT_max="max 100000", memory_DOT_max="max"))
        == Limits()
    )


def test_each_group_above_counts_up_to_the_mount(tmp_path: Path) -> None:
    files = {
        "job__step__task__cpu_DOT_max": "max 100000",
        "job__step__task__memory_DOT_max": str(8 * GIB),
        "job__step__cpu_DOT_max": "400000 100000",
        "job__cpu_DOT_max": "150000 50000",
        "job__memory_DOT_max": str(3 * GIB),
        "other__cpu_DOT_max": "1000 100000",
    }
    assert limits(shown(tmp_path, "0::/job/step/task", V2, **files)) == Limits(3, 3 * GIB)


def test_a_container_of_version_1_that_sees_its_own_group_alone(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct__cpu_DOT_cfs_quota_us": "50000",
        "cpu,cpuacct__cpu_DOT_cfs_period_us": "100000",
        "memory__memory_DOT_limit_in_bytes": str(2 * GIB),
    }
    groups = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc"
    assert limits(shown(tmp_path, groups, v1("/docker/abc"), **files)) == Limits(0.5, 2 * GIB)


def test_a_group_of_version_1_below_one_that_is_tighter(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct__slurm__cpu_DOT_cfs_quota_us": "200000",
        "cpu,cpuacct__slurm__cpu_DOT_cfs_period_us": "100000",
        "cpu,cpuacct__slurm__job__cpu_DOT_cfs_quota_us": "-1",
        "cpu,cpuacct__slurm__job__cpu_DOT_cfs_period_us": "100000",
        "memory__memory_DOT_limit_in_bytes": NONE,
        "memory__slurm__memory_DOT_limit_in_bytes": str(5 * GIB),
        "memory__slurm__job__memory_DOT_limit_in_bytes": NONE,
    }
    groups = "5:cpu,cpuacct:/slurm/job\n4:memory:/slurm/job\n0::/"
    assert limits(shown(tmp_path, groups, f"{v1()}\n{HYBRID}", **files)) == Limits(2, 5 * GIB)


def test_a_group_outside_what_is_shown_is_that_of_the_mount(tmp_path: Path) -> None:
    root = shown(tmp_path, "0::/../../other", V2, cpu_DOT_max="100000 100000")
    assert limits(root) == Limits(1, math.inf)


@pytest.mark.parametrize("text", ["", "max", "0 0", "1 x", "100000 0", "a b c"])
def test_files_that_say_nothing_limit_nothing(text: str, tmp_path: Path) -> None:
    assert limits(shown(tmp_path, "0::/", V2, cpu_DOT_max=text, memory_DOT_max="")) == Limits()


def test_a_system_that_shows_no_groups_has_no_limits(tmp_path: Path) -> None:
    assert limits(tmp_path) == Limits()


def limited(monkeypatch: pytest.MonkeyPatch, cores: float, memory: float) -> None:
    monkeypatch.setattr(machine, "limits", lambda: Limits(cores, memory))


def test_half_a_core_is_one_worker_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0.5, 2 * GIB)
    compute = Compute(device="cpu")
    assert machine.node(compute) == {"CPU": 1, "GPU": 0, "memory": 2 * GIB}
    assert (process_pool.workers_for(compute), compute.threads) == (1, 1)
    machine.fits_here(compute)


def test_workers_are_as_many_as_the_limits_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cores", lambda: 64)
    monkeypatch.setattr(machine, "_memory", lambda: 256 * GIB)
    assert process_pool.workers_for(Compute(device="cpu")) == 64
    limited(monkeypatch, 4.5, 10 * GIB)
    assert process_pool.workers_for(Compute(device="cpu")) == 4
    assert process_pool.workers_for(Compute(device="cpu", memory=4 * GIB)) == 2


@pytest.mark.parametrize(
    ("wanted", "says"), [({"cpus": 4}, "1 CPU"), ({"memory": 3 * GIB}, "1 CPU and 2 GiB memory")]
)
def test_a_refusal_names_the_limit(
    wanted: dict[str, float], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_cores", lambda: 64)
    limited(monkeypatch, 0.5, 2 * GIB)
    with pytest.raises(SpecError, match=f"but this container may use {says}. Lower it"):
        machine.fits_here(Compute(device="cpu", **wanted))  # type: ignore[arg-type]


def test_without_a_limit_the_refusal_is_about_the_machine() -> None:
    with pytest.raises(
        SpecError, match=r"but this (machine has|container may use) \d+ CPU. Lower it"
    ):
        machine.fits_here(Compute(device="cpu", cpus=100_000))


@pytest.mark.parametrize(
    ("compute", "at_a_time"),
    [
        (Compute(device="auto"), 1),
        (Compute(device="cuda"), 1),
        (Compute(device="cpu"), 16),
        (Compute(device="cuda", workers=3), 3),
        (Compute(device="cuda", gpus=0.25), 4),
        (Compute(device="cuda", trials={"gpus": 0.5}), 2),
    ],
)
def test_a_gpu_takes_one_trial_at_a_time_however_many_cores_there_are(
    compute: Compute, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "device_for", {"auto": "cuda"}.__getitem__)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr(machine, "cores", lambda: 16)
    assert process_pool.trials_at_a_time(compute) == at_a_time
