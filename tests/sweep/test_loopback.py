"""A Ray that we start ourselves listens on this machine only: who can reach a Ray cluster can run code on it."""

import os
from pathlib import Path

import pytest
import ray

from sweep import tune

LISTENING = "0A"


def inodes(of: list[int]) -> set[str]:
    """The sockets of these processes."""
    found = set()
    for pid in of:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(handle.readlink()))
            except OSError:
                continue  # closed meanwhile
    return {f[8:-1] for f in found if f.startswith("socket:[")}


def children(of: int) -> list[int]:
    try:
        own = [int(c) for task in Path(f"/proc/{of}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return [of, *(c for child in own for c in children(child))]


def open_ports(of: list[int]) -> tuple[int, list[str]]:
    """How many ports these processes listen on, and the addresses that are not this machine's own."""
    sockets, count, wide = inodes(of), 0, []
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == LISTENING and rest[5] in sockets:
                count += 1
                address = local.split(":")[0]
                if not address.endswith("7F") and address != "00000000000000000000000001000000":  # 127.0.0.0/8, ::1
                    wide.append(local)
    return count, wide


@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_our_own_ray_listens_on_the_loopback_alone() -> None:
    tune._connect(None)
    try:
        ray.get(ray.remote(lambda: None).remote())  # a worker, with its ports
        count, wide = open_ports(children(os.getpid()))
    finally:
        ray.shutdown()
    assert count >= 3  # the table, the scheduler, a worker
    assert wide == []
