"""What this process may use of its machine: cores and memory, fewer where a container or a job is
limited (cgroups).
"""

import functools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sweep.spec.compute import STAGES, Compute, Node, must_fit


@dataclass(frozen=True, slots=True)
class Limits:
    """What the system lets the processes of this control group use together.

    Attributes:
        cores: may be a fraction: the group is stopped for the rest of each period.
        memory: bytes; who takes more is killed.
    """

    cores: float = math.inf
    memory: float = math.inf


def fits_here(compute: Compute) -> None:
    """Raises SpecError, in one line, where a trial of some stage wants more than there is here."""
    limited = limits().cores < _cores() or limits().memory < _memory()
    must_fit(compute, [node(compute)], "this container may use" if limited else "this machine has")


def node(compute: Compute) -> Node:
    """What this machine has for trials; its GPUs are counted only where they are asked for."""
    gpus = 0
    if any(compute.stage(stage).gpus for stage in STAGES) and compute.device != "cpu":
        import torch  # noqa: PLC0415  (only where GPUs are asked for)

        gpus = torch.cuda.device_count()
    return {"CPU": cores(), "GPU": gpus, "memory": memory()}


def cores() -> int:
    """Whole cores that this process may use, at least one."""
    return max(1, math.floor(min(_cores(), limits().cores)))


def memory() -> int:
    """Bytes of memory that this process may use."""
    return int(min(_memory(), limits().memory))


def _cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@functools.cache
def limits(root: Path = Path("/")) -> Limits:
    """The least that this process's control group and those above it allow, of either version of
    cgroups.

    Args:
        root: of the file system that shows /proc and the groups.
    """
    groups = list(_groups(root))
    return Limits(
        min(map(_cores_of, groups), default=math.inf),
        min(map(_memory_of, groups), default=math.inf),
    )


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control groups, and of those above them as far up as they are
    shown here.
    """
    mine = dict[str, PurePosixPath]()
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        mine |= dict.fromkeys(controllers.split(","), PurePosixPath(path))
    for line in _lines(root / "proc/self/mountinfo"):
        where, _, what = line.partition(" - ")
        top, point = where.split()[3:5]
        kind, *_, options = what.split()
        names = {"cgroup2": {""}, "cgroup": {"cpu", "memory"} & set(options.split(","))}.get(
            kind, set()
        )
        for group in (mine[name] for name in names if name in mine):
            shown = root / point.lstrip("/").replace("\\040", " ")
            inside = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
            yield from (shown / part for part in (inside, *inside.parents))


def _cores_of(group: Path) -> float:
    words = _words(group / "cpu.max") or _words(group / "cpu.cfs_quota_us") + _words(
        group / "cpu.cfs_period_us"
    )
    if len(words) != 2 or not all(map(str.isdecimal, words)) or not int(words[1]):  # "max", or -1
        return math.inf
    return int(words[0]) / int(words[1])


def _memory_of(group: Path) -> float:
    words = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
    return int(words[0]) if words and words[0].isdecimal() else math.inf


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
