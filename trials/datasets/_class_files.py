"""Files that say which of a model's outputs is which class: text, CSV and TSV, or JSON."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trials.datasets._imagenet_classes import grouped, outputs_called, plain
from trials.spec import SpecError

_LARGEST = 8 * 2**20  # bytes; the config.json of a model of 21,843 classes has 2 MiB
_MOST = 100_000  # names
_SHOWN = 60  # characters of a line in an error
_DIGITS = 7  # of an output
_BETWEEN = "\t;,"
_HEADS = ("output", "outputs", "index", "idx", "id", "label", "class", "class_id", "synset", "wnid")
_FORMS = (
    "Write a name and an output (a number, or a class of ImageNet) a line; or one name a line, in "
    'the order of the outputs; or JSON: {"name": output} or {"id2label": {"0": "name"}}.'
)
Pairs = list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class ClassNames:
    """What the outputs of a model are called.

    Attributes:
        exact: the outputs of a name.
        loose: the same for names without capitals, ``_`` and ``-``, and for each of several
            synonyms between commas.
        number: of outputs, where all have a name; 0 where that is not known.
    """

    exact: Mapping[str, tuple[int, ...]]
    loose: Mapping[str, tuple[int, ...]]
    number: int

    def outputs(self, name: str) -> tuple[int, ...]:
        """The outputs that are called so: one, none, or several."""
        return self.exact.get(name) or self.loose.get(plain(name), ())


def read(method: str, file: Path) -> ClassNames:
    """The names in a file.

    Args:
        method: the data set's name, for errors.
        file: text, CSV, TSV or JSON.

    Raises:
        SpecError: it cannot be read, is of no known form, or names no class.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST // 2**20} MiB")
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".json" or text.lstrip().startswith(("{", "[")):
            pairs, number = _of_json(json.loads(text))
        else:
            pairs, number = _of_text(text)
        if not 0 < len(pairs) <= _MOST:
            raise ValueError(f"it has {len(pairs)} names")
    except (OSError, ValueError, RecursionError, csv.Error) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(
            f"{method}: classes: {str(file)!r} cannot be used: {reason}. {_FORMS}"
        ) from problem
    return ClassNames(grouped(pairs), grouped(_loose(pairs)), number)


def _loose(pairs: Pairs) -> Pairs:
    found: Pairs = []
    for name, output in pairs:
        synonyms = name.split(",") if "," in name else []
        found += [(plain(one), output) for one in (name, *synonyms)]
    return found


def _of_json(data: Any) -> tuple[Pairs, int]:
    """Names and outputs, and the number of outputs where all have names."""
    if isinstance(data, dict) and isinstance(data.get("id2label"), dict):
        data = data["id2label"]
    if isinstance(data, list):
        return _of_names(list(enumerate(data))), len(data)
    if not isinstance(data, dict):
        raise ValueError("it holds no names")
    numbered = all(key.isdecimal() and len(key) <= _DIGITS for key in data)
    if numbered and all(isinstance(value, str | list) for value in data.values()):
        named = [(int(key), value) for key, value in data.items()]
        return _of_names(named), max((output for output, _ in named), default=-1) + 1
    return [(name, _output(name, value)) for name, value in data.items()], 0


def _of_names(named: Iterable[tuple[int, Any]]) -> Pairs:
    """Outputs with a name, or a list of names, each."""
    pairs: Pairs = []
    for output, names in named:
        pairs += [(_text(name), output) for name in (names if isinstance(names, list) else [names])]
    return pairs


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{str(name)[:_SHOWN]!r} is no name")
    return name


def _output(name: str, value: Any) -> int:
    """The output that a file gives a name. Raises ValueError where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS:
        return value
    if isinstance(value, str):
        if value.isdecimal() and len(value) <= _DIGITS:
            return int(value)
        if len(found := outputs_called(value)) == 1:
            return found[0]
    raise ValueError(
        f"it gives {name[:_SHOWN]!r} the output {str(value)[:_SHOWN]!r}, which is neither a number "
        "nor one class of ImageNet"
    )


def _of_text(text: str) -> tuple[Pairs, int]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    between = next((b for b in _BETWEEN if lines and b in lines[0]), "")
    rows = list(_cells(lines, between))
    if between or all(len(row) == 2 and _is_output(row[1]) for row in rows):
        if rows and rows[0][-1].lower() in _HEADS:
            rows = rows[1:]
        return [(name, _output(name, value)) for name, value in _pairs(rows)], 0
    if mixed := [line for line, row in zip(lines, rows, strict=True) if _is_pair(row)]:
        raise ValueError(f"the line {mixed[0][:_SHOWN]!r} has an output, and others have none")
    return [(line, i) for i, line in enumerate(lines)], len(lines)


def _cells(lines: list[str], between: str) -> Iterator[list[str]]:
    if between:
        for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=between):
            yield [cell.strip() for cell in row]
    else:
        yield from (line.rsplit(None, 1) for line in lines)


def _pairs(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    for row in rows:
        if len(row) != 2 or not all(row):
            line = " ".join(row)[:_SHOWN]
            raise ValueError(f"the line {line!r} has not two columns, a name and an output")
        yield row


def _is_pair(row: list[str]) -> bool:
    return len(row) == 2 and _is_output(row[1])


def _is_output(text: str) -> bool:
    """A number or a synset: a word may be a part of a name."""
    numbered = text.isdecimal() and len(text) <= _DIGITS
    return numbered or (text.startswith("n") and bool(outputs_called(text)))
