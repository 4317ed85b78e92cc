"""Keys and values of a sweep's file that had another name in an earlier version still work."""

import warnings
from collections.abc import Mapping
from typing import Any

from trials.spec import SpecError

OLD_KEYS = {"planting": "self_poisoning"}
OLD_KEYS_OF_A_TABLE = {"walk": "strategy"}  # of [victim] and [[defenses]]
OLD_STRATEGIES = {"star": "one_at_a_time"}


class OldWord(FutureWarning):
    """A sweep's file uses a word of an earlier version."""


def modern(data: Mapping[str, Any]) -> dict[str, Any]:
    """The table with today's keys and values. Warns once of each old word that it has.

    Raises:
        SpecError: an old key stands beside the new one.
    """
    found: dict[str, str] = {}
    new = _renamed(data, OLD_KEYS, found)
    for key in ("victim", "defenses"):
        if key in new:
            new[key] = _modern_table(new[key], found)
    for old, word in found.items():
        warnings.warn(
            f"{old} is now called {word}; the old word still works.", OldWord, stacklevel=2
        )
    return new


def _modern_table(value: Any, found: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_modern_table(item, found) for item in value]
    if not isinstance(value, Mapping):
        return value
    new = _renamed(value, OLD_KEYS_OF_A_TABLE, found)
    strategy = new.get("strategy")
    if isinstance(strategy, str) and strategy in OLD_STRATEGIES:
        new["strategy"] = OLD_STRATEGIES[strategy]
        found[f"strategy = {strategy!r}"] = repr(new["strategy"])
    return new


def _renamed(
    data: Mapping[str, Any], names: Mapping[str, str], found: dict[str, str]
) -> dict[str, Any]:
    for old in names.keys() & data.keys():
        if names[old] in data:
            raise SpecError(
                f"{old} is the old name of {names[old]}, and both are given: remove {old}."
            )
        found[old] = names[old]
    return {names.get(key, key): value for key, value in data.items()}
