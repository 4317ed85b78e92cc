"""Many records out of the store's rows: what records share is read and checked once, and what was
measured is kept close together.

A row that is not as this version writes it goes the way of ``rows.record_of``, which says what is
wrong with it.
"""

import gc
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, groupby
from operator import ge, itemgetter, le
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
from trials.curve import GrowingColumns, Places, joined, part_of
from trials.json_forms import method_config_from_json, trial_from_json, victim_from_json
from trials.spec import KIND_OF, MethodConfig, Point, Record, Role, Trial, Victim

BLOCK = 4000  # points whose JSON is read at once, so that they share the names in it
_ID = re.compile("[0-9a-f]{16}")
# where the parts of a trial's canonical JSON begin, from its end
_PARTS = {name: f',"{name}":' for name in ("victim", "trusted", "seed", "plant", "method", "game")}
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


class Reader:
    """Makes records; use one for all rows of a query."""

    def __init__(self) -> None:
        self._configs: dict[tuple[str, str], MethodConfig] = {}
        self._victims: dict[str, Victim] = {}
        self._provenance: dict[str | None, Mapping[str, str]] = {}
        self._names: dict[tuple[str, ...], tuple[Places, Any, Any]] = {}
        self._columns = GrowingColumns()
        self._unchecked: set[str] = set()  # trials whose points are not as this version writes them

    def points(self, rows: Iterable[Sequence[Any]]) -> dict[str, Sequence[Point]]:
        """Curves by trial's id, of rows (trial's id, step, cda, asr, seconds, JSON of the rest) in
        the order of trial and step.
        """
        curves = dict[str, Sequence[Point]]()
        for block in _blocks(rows):
            points = self._block(block)
            ids = map(itemgetter(0), block)
            place = 0
            for trial_id, own in groupby(ids):
                begin, place = place, place + len(list(own))
                part = part_of(points, begin, place)
                curves[trial_id] = joined(curves[trial_id], part) if trial_id in curves else part
        return curves

    def _block(self, block: Sequence[Sequence[Any]]) -> Sequence[Point]:
        """The points of some rows, whosever they are: in the columns where all are as this version
        writes them.
        """
        ids, *measured, texts = zip(*block, strict=True)
        steps, cdas, asrs, seconds = measured
        found = [one or {} for one in _decoded(texts)]
        usual = _are(int, steps, 0, 2**63 - 1) and _are(float, seconds, 0.0, bounds("")[1])
        usual = usual and _are(float, cdas, 0.0, 1.0) and _are(float, asrs, 0.0, 1.0)
        besides = self._besides(found) if usual else None
        if besides is None:
            self._unchecked |= set(ids)
            return tuple(map(Point, *measured, found))
        return self._columns.extended(steps, cdas, asrs, seconds, *besides)

    def record(
        self, row: Sequence[Any], curve: Sequence[Point], metrics: Mapping[str, float]
    ) -> Record:
        """The record of a row (id, spec as JSON, status, error, seconds, provenance as JSON).

        Raises:
            SpecError: the rows are no record's.
        """
        trial_id, spec, status, error, seconds, provenance = row
        try:
            record = Record(
                trial=self.trial(trial_id, spec),
                status=status,
                metrics=metrics,
                curve=curve,
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

    def trial(self, trial_id: str, spec: str) -> Trial:
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
        found = parts_of(spec)
        return Trial(
            game=_kept(self._configs, ("games", found["game"]), _config),
            victim=_kept(self._victims, found["victim"], _victim),
            method=self._role("defense", found["method"]),
            trusted=json.loads(found["trusted"]),
            seed=json.loads(found["seed"]),
            self_poisoning=self._role("self_poisoning", found["plant"]),
            detector=self._role("detector", found["detector"]),
        )

    def _role(self, role: Role, text: str) -> MethodConfig | None:
        return None if text == "null" else _kept(self._configs, (KIND_OF[role], text), _config)

    def _shared_facts(self, text: str | None) -> Mapping[str, str]:
        return _kept(self._provenance, text, _facts)

    def _besides(self, found: Sequence[Any]) -> tuple[Sequence[Places], Sequence[float]] | None:
        """The places of the names of what points measured besides, and all the values; None where
        they are not as usual.
        """
        if set(map(type, found)) != {dict}:
            return None
        names = [_kept(self._names, own, _of_names) for own in map(tuple, found)]
        places, low, high = zip(*names, strict=True)
        values = list(chain.from_iterable(map(dict.values, found)))
        usual = set(map(type, values)) <= {float}
        usual = usual and all(map(le, chain.from_iterable(low), values))
        usual = usual and all(map(ge, chain.from_iterable(high), values))
        return (places, values) if usual else None


def parts_of(spec: str) -> dict[str, str]:
    """The parts of a trial's canonical JSON, each as JSON.

    Raises:
        ValueError: it is not written as this version does.
    """
    rest, found = spec[:-1], dict[str, str]()
    for name, begin in _PARTS.items():
        rest, mark, found[name] = rest.partition(begin)
        if not mark or spec[-1] != "}":
            raise ValueError("other JSON")
    if not rest.startswith(_FIRST):
        raise ValueError("other JSON")
    return {**found, "detector": rest[len(_FIRST) :]}


def _kept(known: dict[Any, T], key: Any, make: Callable[[Any], T]) -> T:
    """What was made for the key before, or is now."""
    if key in known:
        return known[key]
    if len(known) >= KEPT:
        known.clear()
    return known.setdefault(key, make(key))


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


def _of_names(names: tuple[str, ...]) -> tuple[Places, Any, Any]:
    """Places of the names, and the bounds of their values."""
    low, high = zip(*map(bounds, names), strict=True) if names else ((), ())
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
