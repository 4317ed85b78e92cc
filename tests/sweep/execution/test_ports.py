"""What a run opens on the network: nothing beyond this machine, unless it joins a cluster that is
there.
"""

import ipaddress
import os
import socket
import struct
from pathlib import Path

import made_up
import pytest
from made_up import Made
from planned import scheduler, trials

from results.store import Store
from sweep.execution import process_pool
from sweep.execution.progress import Progress
from sweep.execution.scheduler import Scheduler
from sweep.planning.strategy import ListStrategy
from sweep.spec.compute import Compute
from trials.spec import Record, Trial

LISTENS = "0A"  # the state in /proc/net/tcp


def descendants(pid: int) -> set[int]:
    """The process and all that it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return set()
    return {pid}.union(*(descendants(int(child)) for child in children))


def sockets_of(pid: int) -> set[str]:
    """Inodes of a process's open sockets."""
    found = set()
    for file in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.add(os.readlink(file).removeprefix("socket:[").removesuffix("]"))  # noqa: PTH115
        except OSError:
            continue
    return found


def listening(pids: set[int]) -> set[str]:
    """The addresses at which these processes accept connections."""
    mine, found = set().union(*map(sockets_of, pids)), set()
    for family, size in (("tcp", 4), ("tcp6", 16)):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENS and words[9] in mine:
                raw = bytes.fromhex(words[1].split(":")[0])
                parts = struct.iter_unpack("=I", raw)
                address = ipaddress.ip_address(
                    b"".join(struct.pack(">I", part) for (part,) in parts)
                )
                assert len(raw) == size
                found.add(str(getattr(address, "ipv4_mapped", None) or address))
    return found


def test_the_list_of_sockets_is_right() -> None:
    with socket.create_server(("0.0.0.0", 0)) as wide:
        assert "0.0.0.0" in listening({os.getpid()})
        assert wide.fileno() > 0
    with socket.create_server(("127.0.0.1", 0)):
        assert "127.0.0.1" in listening({os.getpid()})


@pytest.mark.ray
@pytest.mark.slow
def test_a_ray_of_our_own_listens_to_this_machine_alone(store: Store, tmp_path: Path) -> None:
    from ray import cloudpickle  # noqa: PLC0415

    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    cloudpickle.register_pickle_by_value(made_up)  # type: ignore[no-untyped-call]  # workers of Ray have no path to the tests
    before, heard = listening({os.getpid()}), set[str]()

    def reporter(event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        if event in {"point", "finish"}:
            heard.update(listening(descendants(os.getpid())) - before)

    s = Scheduler(iter([[ListStrategy("x", trials(4))]]), store, "tiny", reporter=reporter)
    RayTune(Made(str(tmp_path), nap=0.2), Compute(device="cpu", workers=2)).run(s)
    assert s.over
    assert heard == {"127.0.0.1"}


def test_a_pool_listens_to_nobody(store: Store, tmp_path: Path) -> None:
    before = listening({os.getpid()})
    s = scheduler(store, trials(2))
    process_pool.ProcessPool(Made(str(tmp_path)), 2).run(s)
    assert listening(descendants(os.getpid())) <= before
