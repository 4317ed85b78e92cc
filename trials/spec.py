"""The types that every package shares: configurations of methods, victims, trials, records, and
their content ids.

Imports the standard library only, so that a program which just reads results loads neither torch
nor ray.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

# how a filter's scores become a removal, where no share is given: the filter's own rule, a
# threshold that finds the defender's own poison, one by what is left of it after training, or a fit
OWN, RECALL, BUDGET, MIXTURE = "own", "recall", "budget", "mixture"
REJECTIONS = (OWN, RECALL, BUDGET, MIXTURE)
SELF_POISONED = (RECALL, BUDGET)  # that need poison of the defender's own
LEARNED = 0.5  # ASR from which on one of their attacks is learned, so that a filter has to find it


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
    # set when ``id`` is first read
    _id: str = field(default="", init=False, repr=False, compare=False)

    def identity(self) -> dict[str, Any]:
        later = LATER.get(self.name, {})
        params = {k: v for k, v in self.params.items() if k not in self.files and later.get(k) != v}
        return {
            "name": self.name,
            "params": params,
            **({"files": dict(self.files)} if self.files else {}),
        }

    @property
    def id(self) -> str:
        if not self._id:
            object.__setattr__(self, "_id", content_id(self.identity()))
        return self._id

    @property
    def as_stored(self) -> "MethodConfig":
        """With the settings that one stored before they came lacks, as they were then."""
        return replace(self, params={**LATER.get(self.name, {}), **self.params})

    def __str__(self) -> str:
        settings = [f"{key}={value}" for key, value in self.params.items()]
        return f"{self.name}({', '.join(settings)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtering:
    """What a training set goes through before the training: all that decides which rows are kept.

    Attributes:
        method: the data filter.
        reject: share of the untrusted rows that is removed, the most suspicious ones; "own" for
            those that the filter itself calls suspect, or another of ``REJECTIONS``.
        trusted: r of the images that the filter is given.
        seed: of the filter's draws.
        self_poisoning: how the defender poisons the set, to see what the filter finds; None for not
            at all.
        threshold: settings of the game ``filtering`` that are not its defaults.
    """

    method: MethodConfig
    reject: float | str
    trusted: float
    seed: int
    self_poisoning: MethodConfig | None = None
    threshold: Mapping[str, Scalar] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        own = self.self_poisoning
        return {
            "method": self.method.identity(),
            "reject": self.reject,
            "trusted": self.trusted,
            "seed": self.seed,
            **({"plant": own.identity()} if own else {}),
            **({"threshold": dict(self.threshold)} if self.threshold else {}),
        }


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
    filter: Filtering | None = None  # what its training set went through before training
    overlap: bool = False  # its attacks may poison the same images
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
            **({"overlap": True} if self.overlap else {}),
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
            "filter": self.victim.filter.method if self.victim.filter else None,
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
    curve: Sequence[Point] = ()
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
