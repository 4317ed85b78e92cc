"""The types that every package shares: configurations of methods, victims, trials, records, and
their content ids.

Imports the standard library only, so that a program which just reads results loads neither torch
nor ray.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from trials.later import LATER

Scalar = str | int | float | bool
Status = Literal["done", "failed", "pruned"]
Role = Literal["defense", "detector", "self_poisoning", "filter"]
# the kind of method that fills a role, as the catalog calls it
KIND_OF: Mapping[Role, str] = {
    "defense": "defenses",
    "detector": "detectors",
    "self_poisoning": "games",
    "filter": "filters",
}


class SpecError(ValueError):
    """The user's to fix: names the wrong value, what is accepted, and what to do.

    The command line exits with 2.
    """


@dataclass(frozen=True, slots=True)
class Range:
    """Where a number may lie; ``low_open`` leaves the lower end out."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False

    def __contains__(self, value: float) -> bool:
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return False
        return value == value and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        left = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low:g}"
        return f"{left}, {'inf)' if self.high is None else f'{self.high:g}]'}"


# The types of settings. A setting's annotation is one of these, a plain int/float/bool/str, or a
# Literal of strings.
Count = Annotated[int, Range(0)]
PositiveInt = Annotated[int, Range(1)]
PositiveFloat = Annotated[float, Range(0, None, low_open=True)]
NonNegativeFloat = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
PositiveFraction = Annotated[float, Range(0, 1, low_open=True)]
Location = Annotated[str, "a file or folder; its content, not its name, enters the id"]
ClassMap = Annotated[str, ("imagenet", "index")]  # a Location, or one of these words


@dataclass(frozen=True, slots=True)
class MethodConfig:
    """A method by its file's name, with settings.

    ``files`` holds, for each setting that names a file or folder, the digest of what lies there:
    that, not the path, identifies the configuration, so results can be shared between machines.
    """

    name: str
    params: Mapping[str, Scalar] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        later = LATER.get(self.name, {})
        params = {k: v for k, v in self.params.items() if k not in self.files and later.get(k) != v}
        return {
            "name": self.name,
            "params": params,
            **({"files": dict(self.files)} if self.files else {}),
        }

    def __str__(self) -> str:
        settings = [f"{key}={value}" for key, value in self.params.items()]
        return f"{self.name}({', '.join(settings)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A model trained once, or a stranger's file, shared by every defense."""

    dataset: MethodConfig
    model: MethodConfig
    attacks: tuple[MethodConfig, ...]  # () is the clean model
    training: MethodConfig
    seed: int
    # share of the training images kept out of training, for trusted images never seen
    reserve: float = 0.0
    filter: MethodConfig | None = None  # what its training set went through before training
    # set when ``id`` is first read
    _id: str = field(default="", init=False, repr=False, compare=False)

    def identity(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset.identity(),
            "model": self.model.identity(),
            "attacks": [a.identity() for a in self.attacks],
            "training": self.training.identity(),
            "seed": self.seed,
            "reserve": self.reserve,
            **({"filter": self.filter.identity()} if self.filter else {}),
        }

    @property
    def id(self) -> str:
        if not self._id:
            object.__setattr__(self, "_id", content_id(self.identity()))
        return self._id

    @property
    def kin(self) -> str:
        """Equal for victims that differ in attack and seed only."""
        return replace(self, attacks=(), seed=0).id


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Everything that decides one outcome; equal trials have equal ids."""

    game: MethodConfig
    victim: Victim
    method: MethodConfig | None
    trusted: float  # r: trusted images / training images, a fraction
    seed: int
    # how the defender poisons copies of the model (tuning only)
    self_poisoning: MethodConfig | None = None
    detector: MethodConfig | None = None  # what inspects the model (detectability only)
    # set when ``id`` is first read
    _id: str = field(default="", init=False, repr=False, compare=False)

    def identity(self) -> dict[str, Any]:
        roles = {role: method.identity() for role, method in self.roles.items()}
        detector = {"detector": roles["detector"]} if "detector" in roles else {}
        return {
            **detector,
            "game": self.game.identity(),
            "victim": self.victim.identity(),
            "method": roles.get("defense"),
            "trusted": self.trusted,
            "seed": self.seed,
            "plant": roles.get("self_poisoning"),
        }

    @property
    def roles(self) -> Mapping[Role, MethodConfig]:
        """The methods that the trial has besides its game, by what they do in it."""
        given: dict[Role, MethodConfig | None] = {
            "defense": self.method,
            "self_poisoning": self.self_poisoning,
            "detector": self.detector,
            "filter": self.victim.filter,
        }
        return {role: method for role, method in given.items() if method}

    @property
    def id(self) -> str:
        if not self._id:
            object.__setattr__(self, "_id", content_id(self.identity()))
        return self._id


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement on a curve: after ``step`` optimizer steps and ``seconds`` of the trial's own
    time.
    """

    step: int
    cda: float
    asr: float
    seconds: float = 0.0
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one trial gave. A failed trial has an error and no metrics, never zeros."""

    trial: Trial
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()
    error: str | None = None  # the traceback of a failed trial
    seconds: float = 0.0
    provenance: Mapping[str, str] = field(default_factory=dict)


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces; equal values give equal text, and 1.0 and 1 stay apart."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_id(value: object) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def derive(seed: int, *stages: str | int) -> int:
    """A seed in [0, 2**63) for one stage, so that adding a stage shifts no other."""
    text = canonical([seed, *stages]).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


# Fields that stored JSON knows under the name of an earlier version, so that every version reads
# every store.
_STORED_AS = {"self_poisoning": "plant", "extra": "more"}
_STORED_IF_GIVEN = ("filter",)  # earlier versions have no such field


def to_json(value: Any) -> Any:
    """A configuration, victim, trial, point or record as plain JSON; ``from_json`` undoes it."""
    if isinstance(value, (MethodConfig, Victim, Trial, Point, Record)):
        names = [f.name for f in fields(value) if f.init]
        names = [n for n in names if n not in _STORED_IF_GIVEN or getattr(value, n) is not None]
        return {_STORED_AS.get(name, name): to_json(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {k: to_json(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    return value


def method_config_from_json(data: Mapping[str, Any]) -> MethodConfig:
    return MethodConfig(data["name"], dict(data["params"]), dict(data.get("files", {})))


def _if_given(data: Mapping[str, Any] | None) -> MethodConfig | None:
    return method_config_from_json(data) if data else None


def victim_from_json(data: Mapping[str, Any]) -> Victim:
    return Victim(
        dataset=method_config_from_json(data["dataset"]),
        model=method_config_from_json(data["model"]),
        attacks=tuple(method_config_from_json(a) for a in data["attacks"]),
        training=method_config_from_json(data["training"]),
        seed=data["seed"],
        reserve=data["reserve"],
        filter=_if_given(data.get("filter")),
    )


def trial_from_json(data: Mapping[str, Any]) -> Trial:
    return Trial(
        game=method_config_from_json(data["game"]),
        victim=victim_from_json(data["victim"]),
        method=_if_given(data["method"]),
        trusted=data["trusted"],
        seed=data["seed"],
        self_poisoning=_if_given(data["plant"]),
        detector=_if_given(data.get("detector")),
    )


def point_from_json(data: Mapping[str, Any]) -> Point:
    return Point(data["step"], data["cda"], data["asr"], data["seconds"], dict(data["more"]))


def record_from_json(data: Mapping[str, Any]) -> Record:
    """The record that ``to_json`` wrote."""
    return Record(
        trial=trial_from_json(data["trial"]),
        status=data["status"],
        metrics=dict(data["metrics"]),
        curve=tuple(map(point_from_json, data["curve"])),
        error=data["error"],
        seconds=data["seconds"],
        provenance=dict(data["provenance"]),
    )
