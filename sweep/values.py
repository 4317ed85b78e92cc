"""Checks on single values of a sweep's file; each refuses with one line that says what is accepted."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from trials import catalog
from trials.spec import SpecError


def sane(data: Any) -> None:
    """Raises SpecError for an integer of more than 256 bits, which no setting takes and Python may refuse to print."""
    todo = [data]
    while todo:
        value = todo.pop()
        if isinstance(value, Mapping):
            todo += value.values()
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, int) and abs(value) >= 2**256:
            raise SpecError("an integer has more than 256 bits. Write a smaller one.")


def known(what: str, data: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises SpecError for a key that is none of ``names``."""
    names = list(names)
    for key in data:
        if key not in names:
            raise SpecError(catalog.unknown(what, key, names))


def one_of(what: str, value: str, names: list[str]) -> None:
    """Raises SpecError for a value that is none of ``names``."""
    if value not in names:
        raise SpecError(catalog.unknown(what, value, names))


def table(what: str, value: Any) -> Mapping[str, Any]:
    """The value, a table."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{what} must be a table, got {value!r}.")
    return value


def listed(what: str, value: Any) -> list[Any]:
    """The value as a list; a single one is a list of one."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise SpecError(f"{what} is an empty list.")
    return values


def number(what: str, value: Any) -> float:
    """The value, a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SpecError(f"{what} must be a finite number, got {value!r}.")
    return float(value)


def seed(what: str, value: Any) -> int:
    """The value, an integer in [0, 2^63)."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise SpecError(f"{what} must be integers in [0, 2^63), got {value!r}.")
    return value
