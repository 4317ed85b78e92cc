"""Checks on single values of a sweep's file; each refuses in a line that says what is accepted."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from trials import catalog
from trials.spec import SpecError

T = TypeVar("T")
ACCEPTED = {str: "a string", bool: "true or false", int: "an integer", Mapping: "a table"}


def sane(data: Any) -> None:
    """Raises SpecError for an integer of more than 256 bits, which no setting takes and Python may
    refuse to print.
    """
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
    """The value, which must be a table."""
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


def typed(cls: type[T], where: str, data: Mapping[str, Any]) -> T:
    """An instance of a dataclass from a table, its values' types checked by the annotations."""
    hints = get_type_hints(cls)
    known(f"key of {where}", data, list(hints))
    values = {}
    for key, value in data.items():
        wanted = get_origin(hints[key]) or hints[key]
        if wanted is tuple:
            value = tuple(listed(key, value))  # noqa: PLW2901
            good = all(isinstance(v, get_args(hints[key])[0]) for v in value)
        elif wanted is float:
            value = number(f"{where}: {key}", value)  # noqa: PLW2901
            good = True
        else:
            good = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if not good:
            raise SpecError(
                f"{where}: {key} must be {ACCEPTED.get(wanted, 'strings')}, got {value!r}."
            )
        values[key] = value
    if "name" in hints and "name" not in values:
        raise SpecError(f"a table of {where} has no name.")
    return cls(**values)
