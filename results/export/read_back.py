"""The records of a file that ``frames.to_file`` wrote, whole; of a stranger's file nothing but
what is a record.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from results.export.frames import CURVE, FORMAT, RECORD, RULE, SWEEP, beside, extra_of
from results.store.validation import check
from trials.json_forms import record_from_json
from trials.spec import Point, Record, SpecError, content_id


@dataclass(frozen=True, slots=True)
class Exported:
    """What a file held: the records in its order, and the sweep that they were exported from."""

    records: list[Record]
    sweep: str  # empty where the file does not say; so is the rule that it chooses by
    rule: str


def _csv(path: Path) -> pd.DataFrame:
    """All of it as text, as an id may look like a number."""
    return pd.read_csv(path, dtype="str", keep_default_na=False, low_memory=False)


_READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _csv,
    ".parquet": lambda path: pd.read_parquet(path, engine="pyarrow"),
}


def from_file(path: Path) -> Exported:
    """Read what ``to_file`` wrote at ``path``, and the curves beside it.

    Raises:
        SpecError: a file is not there, cannot be read, lacks columns, comes from another version,
            or holds what no trial can have given.
    """
    if path.suffix not in _READERS:
        raise SpecError(
            f"{str(path)!r} is no export: the suffix must be one of {', '.join(_READERS)}."
        )
    table, points = _read(path), _read(beside(path))
    if RECORD not in table:
        raise SpecError(
            f"{str(path)!r} has no column {RECORD!r}: an earlier version exported it, or another "
            "program. Export the sweep again with this one."
        )
    _has(table, ("id",), path)
    _has(points, CURVE, beside(path))
    try:
        curves = _curves(points)
        records = [_record(*row, curves) for row in zip(table["id"], table[RECORD], strict=True)]
    except SpecError as problem:
        raise SpecError(f"{str(path)!r}: {problem}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise SpecError(
            f"{str(path)!r} is damaged, or not ours ({type(problem).__name__}: {problem})."
        ) from None
    if left := len(curves):
        raise SpecError(
            f"{str(beside(path))!r} has curves of {left} trials that {path.name} lacks."
        )
    return Exported(records, _named(table, SWEEP), _named(table, RULE))


def _read(path: Path) -> pd.DataFrame:
    try:
        return _READERS[path.suffix](path)
    except FileNotFoundError:
        raise SpecError(f"there is no file {str(path)!r}; an export is two files.") from None
    except Exception as problem:  # of a parser, whose errors are of many types
        first = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise SpecError(f"{str(path)!r} cannot be read as {path.suffix[1:]}: {first}") from None


def _has(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    if absent := [name for name in names if name not in table]:
        raise SpecError(f"{str(path)!r} lacks the columns {', '.join(absent)}.")


def _named(table: pd.DataFrame, column: str) -> str:
    """The one name in a column; empty where there is none, or several."""
    named = set(table[column].dropna()) - {""} if column in table else set()
    return str(named.pop()) if len(named) == 1 else ""


def _record(trial_id: Any, text: Any, curves: dict[str, list[Point]]) -> Record:
    data = json.loads(text)
    if data.get("format") != FORMAT:
        raise SpecError(
            f"its records have the format {data.get('format')!r}, this version reads {FORMAT}. "
            "Export them again with this version."
        )
    curve = curves.pop(trial_id, [])
    record = replace(record_from_json({**data, "curve": []}), curve=tuple(curve))
    check(record)
    if content_id(record.trial.identity()) != trial_id:
        raise ValueError(f"trial {trial_id!r} is another trial than its id says")
    if len(curve) != data["points"]:
        raise ValueError(f"trial {trial_id} has {len(curve)} of {data['points']} points")
    return record


def _curves(table: pd.DataFrame) -> dict[str, list[Point]]:
    """The points by trial's id, in the order of their steps."""
    names = [str(name) for name in table.columns if name not in CURVE]
    extras = _extras(table[names]) if names else ({} for _ in range(len(table)))
    found: dict[str, list[Point]] = {}
    for (trial_id, step, cda, asr, seconds), extra in zip(
        table[list(CURVE)].itertuples(index=False), extras, strict=True
    ):
        point = Point(int(step), float(cda), float(asr), float(seconds), extra)
        found.setdefault(str(trial_id), []).append(point)
    return found


def _extras(table: pd.DataFrame) -> Iterator[dict[str, float]]:
    """What each row measured besides; an empty cell is what it did not."""
    names = [extra_of(str(name)) for name in table.columns]
    columns = (map(_number, table[name]) for name in table.columns)
    for row in zip(*columns, strict=True):
        yield {name: x for name, x in zip(names, row, strict=True) if x is not None}


def _number(cell: Any) -> float | None:
    value = None if cell is None or cell == "" else float(cell)
    return None if value is None or math.isnan(value) else value
