"""Many records out of the store's rows: what records share is read and checked once, and what was
measured is kept close together.

A row that is not as this version writes it goes the way of ``rows.record_of``, which says what is
wrong with it.
"""

import gc
import json
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import ge, le
from typing import Any, TypeVar

from results.store.rows import damaged
from results.store.validation import (
    bounds,
    check_config,
    check_facts,
    check_own,
    check_points,
    configs_of,
    configs_of_victim,
)
from trials.json_forms import method_config_from_json, trial_from_json, victim_from_json
from trials.spec import KIND_OF, MethodConfig, Point, Record, Role, Trial, Victim

BLOCK = 4000  # points whose JSON is read at once, so that they share the names in it
_ID = re.compile("[0-9a-f]{16}")
# the parts of a trial's canonical JSON, from its end
_PARTS = ("victim", "trusted", "seed", "plant", "method", "game")
_FIRST = '{"detector":'
KEPT = 4096  # of each kind of what records share; trials of one configuration lie close together
T = TypeVar("T")


@contextmanager
def uncollected() -> Iterator[None]:
    """In this block no garbage is looked for: of many new objects that stay, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Measured(Mapping[str, float]):
    """Named numbers, as a dict of them, in a quarter of the memory.

    Args:
        places: of the names, which many share.
        values: of many.
        start: of one's own in ``values``.
    """

    __slots__ = ("_places", "_start", "_values")

    def __init__(self, places: Mapping[str, int], values: "array[float]", start: int) -> None:
        self._places, self._values, self._start = places, values, start

    def __reduce__(self) -> tuple[type, tuple[dict[str, float]]]:
        return dict, (dict(self),)

    def __getitem__(self, name: str) -> float:
        return self._values[self._start + self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        place = self._places.get(name)
        return default if place is None else self._values[self._start + place]

    def __repr__(self) -> str:
        return f"Measured({dict(self)})"


class Reader:
    """Makes records; use one for all rows of a query."""

    def __init__(self) -> None:
        self._configs: dict[tuple[str, str], MethodConfig] = {}
        self._victims: dict[str, Victim] = {}
        self._provenance: dict[str | None, Mapping[str, str]] = {}
        self._names: dict[tuple[str, ...], tuple[Mapping[str, int], Any, Any]] = {}
        self._steps: dict[int, int] = {}  # one object each
        self._unchecked: set[str] = set()  # trials whose points are not as this version writes them

    def points(self, rows: Iterable[Sequence[Any]]) -> dict[str, list[Point]]:
        """Curves by trial's id, of rows (trial's id, step, cda, asr, seconds, JSON of the rest) in
        the order of trial and step.
        """
        curves: dict[str, list[Point]] = {}
        for block in _blocks(rows):
            ids, steps, cdas, asrs, seconds, texts = zip(*block, strict=True)
            usual = _are(int, steps, 0, 2**63 - 1) and _are(float, seconds, 0.0, bounds("")[1])
            usual = usual and _are(float, cdas, 0.0, 1.0) and _are(float, asrs, 0.0, 1.0)
            self._unchecked |= set() if usual else set(ids)
            columns, values = zip(ids, steps, cdas, asrs, seconds, strict=True), array("d")
            for (trial_id, step, cda, asr, second), found in zip(
                columns, _decoded(texts), strict=True
            ):
                extra = self._measured(trial_id, found, values)
                point = Point(_kept(self._steps, step, _same), cda, asr, second, extra)
                curves.setdefault(trial_id, []).append(point)
        return curves

    def record(
        self, row: Sequence[Any], curve: Iterable[Point], metrics: Mapping[str, float]
    ) -> Record:
        """The record of a row (id, spec as JSON, status, error, seconds, provenance as JSON).

        Raises:
            SpecError: the rows are no record's.
        """
        trial_id, spec, status, error, seconds, provenance = row
        try:
            record = Record(
                trial=self._trial(trial_id, spec),
                status=status,
                metrics=metrics,
                curve=tuple(curve),
                error=error,
                seconds=seconds,
                provenance=self._shared_facts(provenance),
            )
            check_own(record)
            if trial_id in self._unchecked:
                check_points(record.curve)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise damaged(trial_id, problem) from problem
        return record

    def _trial(self, trial_id: str, spec: str) -> Trial:
        """The trial of its canonical JSON, with the id under which it is stored."""
        try:
            trial = self._from_parts(spec)
        except (KeyError, TypeError, ValueError, AttributeError):
            trial = trial_from_json(json.loads(spec))
            for kind, config in configs_of(trial):
                check_config(kind, config)
        if isinstance(trial_id, str) and _ID.fullmatch(trial_id):
            object.__setattr__(trial, "_id", trial_id)
        return trial

    def _from_parts(self, spec: str) -> Trial:
        """Raises ValueError for what is not written as this version does: parts that are JSON each
        are parts of the whole.
        """
        rest, found = spec[:-1], dict[str, str]()
        for name in _PARTS:
            rest, mark, found[name] = rest.partition(f',"{name}":')
            if not mark or spec[-1] != "}":
                raise ValueError("other JSON")
        if not rest.startswith(_FIRST):
            raise ValueError("other JSON")
        return Trial(
            game=_kept(self._configs, ("games", found["game"]), _config),
            victim=_kept(self._victims, found["victim"], _victim),
            method=self._role("defense", found["method"]),
            trusted=json.loads(found["trusted"]),
            seed=json.loads(found["seed"]),
            self_poisoning=self._role("self_poisoning", found["plant"]),
            detector=self._role("detector", rest[len(_FIRST) :]),
        )

    def _role(self, role: Role, text: str) -> MethodConfig | None:
        return None if text == "null" else _kept(self._configs, (KIND_OF[role], text), _config)

    def _shared_facts(self, text: str | None) -> Mapping[str, str]:
        return _kept(self._provenance, text, _facts)

    def _measured(self, trial_id: str, found: Any, values: "array[float]") -> Mapping[str, float]:
        """What a point measured besides; kept in ``values`` where it is as usual."""
        if not found:
            return {}
        if not isinstance(found, dict):
            self._unchecked.add(trial_id)
            return found  # type: ignore[no-any-return]  # which the check of the record refuses
        places, low, high = _kept(self._names, tuple(found), _of_names)
        own = found.values()
        usual = set(map(type, own)) == {float}
        if usual and all(map(le, low, own)) and all(map(ge, high, own)):
            start = len(values)
            values.extend(own)
            return Measured(places, values, start)
        self._unchecked.add(trial_id)
        return found


def _kept(known: dict[Any, T], key: Any, make: Callable[[Any], T]) -> T:
    """What was made for the key before, or is now."""
    if key in known:
        return known[key]
    if len(known) >= KEPT:
        known.clear()
    return known.setdefault(key, make(key))


def _same(step: int) -> int:
    return step


def _config(kind_and_text: tuple[str, str]) -> MethodConfig:
    kind, text = kind_and_text
    config = method_config_from_json(json.loads(text))
    check_config(kind, config)
    params = {sys.intern(k): v for k, v in config.params.items()}
    return replace(config, params=params)


def _victim(text: str) -> Victim:
    victim = victim_from_json(json.loads(text))
    for kind, config in configs_of_victim(victim):
        check_config(kind, config)
    return victim


def _facts(text: str | None) -> Mapping[str, str]:
    facts: Mapping[str, str] = (None if text is None else json.loads(text)) or {}
    check_facts(facts)
    return facts


def _of_names(names: tuple[str, ...]) -> tuple[Mapping[str, int], Any, Any]:
    """Places of the names, and the bounds of their values."""
    low, high = zip(*map(bounds, names), strict=True)
    return {name: i for i, name in enumerate(names)}, low, high


def _decoded(texts: Sequence[str | None]) -> list[Any]:
    every = ",".join("null" if text is None else text for text in texts)
    found = json.loads(f"[{every}]")
    if len(found) != len(texts):
        raise ValueError("a point of a curve has several values")
    return list(found)


def _are(kind: type, column: Sequence[Any], low: float, high: float) -> bool:
    """Whether all values are of that type and lie within the bounds."""
    if set(map(type, column)) != {kind}:
        return False
    return all(map(kind(low).__le__, column)) and all(map(kind(high).__ge__, column))


def _blocks(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    block: list[Sequence[Any]] = []
    for row in rows:
        block.append(row)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block
