"""What a stored record must be before anything is made of it: a store may be damaged, or come from
a stranger.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from trials import catalog
from trials.spec import (
    KIND_OF,
    MethodConfig,
    Point,
    Record,
    Scalar,
    SpecError,
    Trial,
    Victim,
)

_RATES = ("cda", "asr", "val_cda")  # such measurements are fractions
_LARGEST = sys.float_info.max
_COUNTS = ("n_", "copies", "steps", "step")


def check(record: Record) -> None:
    """Raises ValueError for a record that no trial can have given."""
    for kind, config in configs_of(record.trial):
        check_config(kind, config)
    check_own(record)
    check_facts(record.provenance)
    check_points(record.curve)


def configs_of(trial: Trial) -> Iterator[tuple[str, MethodConfig]]:
    """Every method of a trial, with its kind."""
    yield "games", trial.game
    yield from configs_of_victim(replace(trial.victim, filter=None))
    for role, method in trial.roles.items():
        yield KIND_OF[role], method


def configs_of_victim(victim: Victim) -> Iterator[tuple[str, MethodConfig]]:
    yield "datasets", victim.dataset
    yield "models", victim.model
    yield "recipes", victim.training
    for attack in victim.attacks:
        yield "attacks", attack
    if victim.filter:
        yield "filters", victim.filter.method


def check_own(record: Record) -> None:
    """What a record shares with no other, but its curve; raises as ``check``."""
    trial, victim = record.trial, record.trial.victim
    _number("trusted", trial.trusted, 0, 1)
    _number("reserve", victim.reserve, 0, 1)
    for seed in (trial.seed, victim.seed):
        _need(isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63, "a seed")
    _number("seconds", record.seconds, 0)
    _need(record.error is None or isinstance(record.error, str), "the error")
    _measured(record.metrics)


def check_facts(provenance: Mapping[str, Any]) -> None:
    """Where a record comes from; raises as ``check``."""
    for fact in provenance.items():
        _need(all(isinstance(word, str) and _is_text(word) for word in fact), "the provenance")


def check_points(curve: Sequence[Point]) -> None:
    """A record's curve; raises as ``check``."""
    for point in curve:
        _point(point)
    _need(len({p.step for p in curve}) == len(curve), "a step of the curve, which is there twice,")


def check_config(kind: str, config: MethodConfig) -> None:
    """A method and its settings; raises as ``check``."""
    _need(
        isinstance(config.name, str) and 0 < len(config.name) <= 1000 and _is_text(config.name),
        "a method's name",
    )
    for key, digest in config.files.items():
        _need(
            isinstance(key, str) and isinstance(digest, str) and _is_text(key + digest),
            "a file's digest",
        )
    params = config.params
    _check_types(kind, config.name, tuple(params), tuple(map(type, params.values())))
    for key, value in params.items():
        if isinstance(value, str):
            _need(_is_text(value), f"the setting {key!r}")
        elif not isinstance(value, bool):
            _number(key, value, -(2.0**63), 2.0**63 if isinstance(value, int) else math.inf)


@lru_cache(4096)
def _check_types(kind: str, name: str, keys: tuple[str, ...], types: tuple[type, ...]) -> None:
    """The names of a method's settings, and the types of their values; raises as ``check``."""
    known = defaults(kind, name)
    for key, given in zip(keys, types, strict=True):
        _need(isinstance(key, str) and _is_text(key), "a setting's name")
        _need(issubclass(given, (str, int, float)), f"the setting {key!r}")
        if key in known:
            _need(_alike(type(known[key]), given), f"the setting {key!r}")


def _alike(default: type, given: type) -> bool:
    return given in (int, float) if default is float else given is default


@lru_cache
def defaults(kind: str, name: str) -> Mapping[str, Scalar]:
    """The defaults of a method's settings; none where the method is not known."""
    try:
        return {k: s.default for k, s in catalog.describe(kind, name).settings.items()}
    except (SpecError, LookupError, OSError, SyntaxError):
        return {}


def _point(point: Point) -> None:
    _need(isinstance(point.step, int) and 0 <= point.step < 2**63, "a step of the curve")
    _number("cda", point.cda, 0, 1)
    _number("asr", point.asr, 0, 1)
    _number("seconds", point.seconds, 0)
    _measured(point.extra)


def _measured(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        low, high = bounds(name)
        if not (type(value) is float and low <= value <= high):
            _number(name, value, low, high)


@lru_cache(4096)
def bounds(name: str) -> tuple[float, float]:
    """The least and the largest value of a measurement of that name. Raises ValueError for what is
    no name.
    """
    _need(isinstance(name, str) and _is_text(name), "a measurement's name")
    rate = name.startswith(_RATES)
    low = 0.0 if rate or name.startswith(_COUNTS) else -_LARGEST
    return low, 1.0 if rate else _LARGEST


def _number(name: str, value: Any, low: float, high: float = math.inf) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    _need(good and abs(value) < math.inf, f"{name!r}")


def _is_text(word: str) -> bool:
    return word.isascii() or not any("\ud800" <= c <= "\udfff" for c in word)


def _need(held: bool, what: str) -> None:
    if not held:
        raise ValueError(f"{what} is none that a trial can have")
