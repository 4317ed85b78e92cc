"""What trials take of the machines: the [compute] table, for all trials or those of one stage."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweep.spec.validation import known, number, one_of, table, typed
from trials.spec import SpecError, Trial

SCHEDULERS = ("none", "asha")
STAGES = ("victims", "copies", "trials", "detectors")
_STAGE_OF = {
    "training": "victims",
    "self_poison": "copies",
    "detector_tuning": "detectors",
    "detectability": "detectors",
}
PER_STAGE = ("cpus", "gpus", "memory", "resources", "workers", "time_limit")
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
# what a machine has: CPU, GPU, memory in bytes, and resources of the user's own names
Node = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What a trial gets, and how failures and stops are treated."""

    device: str = "auto"  # auto, cpu, cuda
    cpus: float = 1  # cores a trial, and torch's threads in it
    gpus: float = 0  # GPUs a trial, may be a fraction; set for you where device is cuda
    # bytes a trial, or text such as "2 GiB"; by it trials are placed, not stopped
    memory: float = 0
    # a trial's share of the resources that the cluster's nodes name
    resources: Mapping[str, float] = field(default_factory=dict)
    workers: int = 0  # trials at a time; 0: as many as the cores (or GPUs) allow
    # seconds of a trial's own time, after which it is ended and has failed; 0: none
    time_limit: float = 0
    scheduler: str = "none"  # asha stops configurations that the rule would pass over; on Ray
    attempts: int = 3  # how often a trial whose worker was lost is started
    # seconds after which a lost machine's trials are free for the others that share the store
    lease: float = 420
    outage: float = 300  # seconds that a database which went away is waited for
    # share of failures among ten or more finished trials at which the sweep stops
    abort_at: float = 0.5
    # other values for the trials of one stage:
    victims: Mapping[str, Any] = field(default_factory=dict)  # those that train victims
    copies: Mapping[str, Any] = field(default_factory=dict)  # those that poison copies
    trials: Mapping[str, Any] = field(default_factory=dict)  # those that run defenses
    detectors: Mapping[str, Any] = field(default_factory=dict)  # those that run detectors

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus))

    @property
    def wants(self) -> dict[str, float]:
        """What a trial takes of a node, by Ray's names."""
        every = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory, **self.resources}
        return {name: need for name, need in every.items() if need}

    @property
    def wanted(self) -> str:
        """The same for people."""
        return _listed(self.wants)

    def stage(self, name: str) -> "Compute":
        """What the trials of a stage get: the table, and over it that of the stage."""
        return replace(self, **getattr(self, name))

    def share(self, trial: Trial) -> "Compute":
        """What this trial gets."""
        return self.stage(_STAGE_OF.get(trial.game.name, "trials"))


def compute_of(data: Mapping[str, Any]) -> Compute:
    """The [compute] table of a sweep's file. Raises SpecError for what it may not hold."""
    compute = _checked("compute", data)
    stages: dict[str, Any] = {
        stage: _stage(f"compute.{stage}", getattr(compute, stage)) for stage in STAGES
    }
    return replace(compute, **stages)


def fits(share: Compute, node: Node) -> int:
    """Trials with this share that a node can run at a time."""
    return min(_times(name, need, node.get(name, 0)) for name, need in share.wants.items())


def must_fit(
    compute: Compute, nodes: Sequence[Node], seen: str = "no node has as much; they have"
) -> None:
    """Raises SpecError with one line, ``seen`` in it, where no single node has what one trial of
    some stage wants.
    """
    for stage in STAGES:
        share = compute.stage(stage)
        if any(fits(share, node) for node in nodes):
            continue
        where = f"compute.{stage}" if getattr(compute, stage) else "compute"
        have = list(dict.fromkeys(_listed(_part(node, share)) for node in nodes))
        told = f"{seen} {'; '.join(have[:4])}{'; ...' if len(have) > 4 else ''}"
        raise SpecError(
            f"{where}: a trial wants {share.wanted}, but {told}. Lower it, or add such a node."
        )


def _part(node: Node, share: Compute) -> dict[str, float]:
    """What the node has of that which the share names."""
    return {name: node.get(name, 0) for name in share.wants}


def _checked(where: str, data: Mapping[str, Any]) -> Compute:
    """A [compute] table or one of a stage."""
    plain = dict(data)
    if "memory" in plain:
        plain["memory"] = _bytes(f"{where}: memory", plain["memory"])
    compute = typed(Compute, where, plain)
    if not re.fullmatch(r"cuda:\d+", compute.device):
        one_of("device", compute.device, ["auto", "cpu", "cuda", "cuda:0"])
    one_of("scheduler", compute.scheduler, list(SCHEDULERS))
    _check_amounts(where, compute)
    _check_limits(where, compute)
    own = {name: _amount(where, name, need) for name, need in compute.resources.items()}
    return replace(compute, resources=own)


def _check_amounts(where: str, compute: Compute) -> None:
    if compute.cpus <= 0:
        raise SpecError(f"{where}: cpus must be more than 0, got {compute.cpus:g}.")
    for key in ("gpus", "workers", "memory", "time_limit"):
        if getattr(compute, key) < 0:
            raise SpecError(f"{where}: {key} must be 0 or more, got {getattr(compute, key):g}.")
    if compute.gpus > 1 and compute.gpus != int(compute.gpus):
        raise SpecError(
            f"{where}: gpus must be a fraction of one or a whole number, got {compute.gpus:g}."
        )


def _check_limits(where: str, compute: Compute) -> None:
    if compute.attempts < 1:
        raise SpecError(f"{where}: attempts must be 1 or more, got {compute.attempts}.")
    if compute.lease < 1:
        raise SpecError(f"{where}: lease must be 1 s or more, got {compute.lease:g}.")
    if compute.outage < 0:
        raise SpecError(f"{where}: outage must be 0 s or more, got {compute.outage:g}.")
    if not 0 < compute.abort_at <= 1:
        raise SpecError(
            f"{where}: abort_at must lie in (0, 1], got {compute.abort_at:g}; 1 stops when all "
            "fail."
        )


def _amount(where: str, name: str, need: Any) -> float:
    if name in {"CPU", "GPU", "memory"}:
        raise SpecError(
            f"{where}: resources: {name} has a key of its own: write cpus, gpus or memory."
        )
    amount = number(f"{where}: resources: {name}", need)
    if amount <= 0:
        raise SpecError(f"{where}: resources: {name} must be more than 0, got {amount:g}.")
    return amount


def _stage(where: str, data: Any) -> dict[str, Any]:
    """What a stage's table changes."""
    known(f"key of {where}", table(where, data), PER_STAGE)
    whole = _checked(where, data)
    return {key: getattr(whole, key) for key in data}


def _bytes(what: str, value: Any) -> float:
    """Bytes from a number or from text such as "2 GiB" or "500 MB"."""
    if not isinstance(value, str):
        return number(what, value)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", value.lower())
    if not found or found[2] not in _UNITS:
        raise SpecError(f'{what} must be bytes or text such as "2 GiB" or "500 MB", got {value!r}.')
    return float(found[1]) * _UNITS[found[2]]


def _times(name: str, need: float, have: float) -> int:
    if name == "GPU" and need < 1:  # a fraction lies on one GPU, so what is left of each is lost
        return int(have) * math.floor(1 / need + 1e-9)
    return math.floor(have / need + 1e-9)


def _listed(amounts: Mapping[str, float]) -> str:
    words = [
        f"{amount / 2**30:.3g} GiB memory" if name == "memory" else f"{amount:g} {name}"
        for name, amount in amounts.items()
    ]
    return " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} and {words[-1]}"
