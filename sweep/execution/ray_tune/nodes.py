"""The nodes of a Ray cluster: what they have, whether they can run trials, and the code that they
are sent.
"""

import time
import uuid
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.execution import versions
from sweep.execution.worker import WorkerConfig
from sweep.spec.compute import STAGES, Compute, Node, fits
from trials.spec import SpecError
from trials.storage.blobs import blobs_at, masked

# a node may have to unpack the code that it is sent, and to load torch from a slow disk
PROBE_SECONDS = 300
LOOK_SECONDS = 5.0  # nodes come and go; how often that is looked up


def alive() -> list[Node]:
    """What each living node has."""
    return [node["Resources"] for node in _alive()]


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


class NodeCapacity:
    """How many trials may run at a time, as nodes come and go.

    Attributes:
        share: what each of them gets.
        empty: True when no living node has that.
        told: whether that has been said.
    """

    def __init__(self) -> None:
        self.share = Compute()
        self._nodes, self._looked = list[Node](), 0.0
        self.empty = False
        self.told = False  # that there is none

    def now(self) -> int:
        """At least one: a trial that no node can run waits for one that can."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._nodes, self._looked = alive(), time.monotonic()
        slots = sum(fits(self.share, node) for node in self._nodes)
        self.empty, self.told = not slots, self.told and not slots
        return max(1, min(slots, self.share.workers or slots))


def shipped() -> dict[str, object]:
    """The runtime environment that sends this package's code to every node."""
    root = Path(__file__).resolve().parents[3]
    return {
        "py_modules": [str(root / package) for package in versions.PACKAGES],
        "excludes": ["**/__pycache__"],
    }


def probe(compute: Compute, worker_config: WorkerConfig) -> list[str]:
    """Ask every node that may get trials for its code and the artifacts folder.

    Returns:
        A line for each way in which the libraries of some nodes differ from ours.

    Raises:
        SpecError: naming the node that lacks one of them, or has another version of the code.
    """
    wanted = [node for node in _alive() if _gets_trials(node["Resources"], compute)]
    folder, mark = blobs_at(worker_config.artifacts), f"seen-{uuid.uuid4().hex}"
    folder.put(mark, b"")
    found: list[tuple[str, versions.Facts]] = []
    try:
        asked = [(node, _ask(node["NodeID"], worker_config.artifacts, mark)) for node in wanted]
        for node, answer in asked:
            host = node["NodeManagerAddress"]
            try:
                said = ray.get(answer, timeout=PROBE_SECONDS)
            except ray.exceptions.RayError as problem:
                if node["NodeID"] not in {n["NodeID"] for n in _alive()}:
                    continue  # it has just gone
                last = " ".join(str(problem).strip().splitlines()[-1:])
                raise SpecError(
                    f"the node {host} cannot run trials: {last} Install poisonsweep there, with "
                    "the versions that are "
                    "installed here, or send its code with --ship."
                ) from problem
            # formerly nobody said which version it is
            sees, facts = said if isinstance(said, tuple) else (said, {})
            versions.must_match(host, facts)
            found.append((host, facts))
            if not sees:
                raise SpecError(
                    f"the node {host} does not see the artifacts folder "
                    f"{masked(worker_config.artifacts)!r}: every node must "
                    "have it at that path, on a file system that they share. Choose another with "
                    "--artifacts, or a URI."
                )
    finally:
        folder.drop(mark)
    return versions.notes(found)


def _gets_trials(node: Node, compute: Compute) -> bool:
    """True where the node has what a trial of some stage wants."""
    return any(fits(compute.stage(stage), node) for stage in STAGES)


def _ask(node: str, where: str, mark: str) -> "ray.ObjectRef[tuple[bool, versions.Facts]]":
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    ask = ray.remote(_sees).options(num_cpus=0, scheduling_strategy=there)
    asked: ray.ObjectRef[tuple[bool, versions.Facts]] = ask.remote(where, mark)
    return asked


def _sees(where: str, mark: str) -> tuple[bool, versions.Facts]:
    """Runs on a node: whether it sees the mark, and what it runs.

    That torch can be loaded there is tried too.
    """
    import torch  # noqa: PLC0415, F401

    return blobs_at(where).has(mark), dict(versions.here())
