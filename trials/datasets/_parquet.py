"""Parquet files of images, as Hugging Face writes them: a column of encoded images, a column of
labels, and the names of the classes in the schema.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trials.spec import SpecError

T = TypeVar("T")
IMAGES = ("img", "image")
_MOST = 1_000_000  # rows of a file


@dataclass(frozen=True, slots=True)
class Parquet:
    """The files of one split.

    Attributes:
        method: the data set's name, for errors.
        files: one split, in order.
        labels: names that its column of labels may have.
    """

    method: str
    files: list[Path]
    labels: tuple[str, ...] = ("label",)

    def label_column(self) -> list[Any]:
        """The labels of all rows."""
        parts = [_read(self.method, file, partial(self._labels_of, file)) for file in self.files]
        return list(chain.from_iterable(parts))

    def numbers(self) -> NDArray[np.int64]:
        """The labels of all rows, int64 (n,)."""
        parts = [_read(self.method, file, partial(self._numbers_of, file)) for file in self.files]
        return np.concatenate(parts)

    def names(self) -> list[str]:
        """The classes' names, where the schema has them."""
        opened, _, label = self._open(self.files[0])
        metadata = opened.schema_arrow.metadata or {}
        try:
            feature = json.loads(metadata[b"huggingface"])["info"]["features"][label]
            names = feature["names"]
            found = list(names.values()) if isinstance(names, dict) else list(names)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return []
        return found if all(isinstance(n, str) for n in found) else []

    def keys(self) -> list[str]:
        """The names by which ``images`` calls the rows."""
        found: list[str] = []
        for file in self.files:
            rows = self._open(file)[0].metadata.num_rows
            found += [_key(file, row) for row in range(rows)]
        return found

    def images(self) -> Iterator[tuple[bytes, str]]:
        """The encoded images, each with a name of its file and row."""
        for file in self.files:
            opened, column, _ = self._open(file)
            row = 0
            batches = opened.iter_batches(1000, columns=[column])
            while batch := _read(self.method, file, partial(_encoded, batches)):
                for i, content in enumerate(batch, row):
                    # text would be taken for a path
                    yield content if isinstance(content, bytes) else b"", _key(file, i)
                row += len(batch)

    def _open(self, file: Path) -> tuple[pq.ParquetFile, str, str]:
        """The file, and its columns of images and labels."""
        try:
            opened = pq.ParquetFile(file)
        except MemoryError as problem:  # Arrow's is one of its other errors too
            raise _too_large(self.method, file) from problem
        except (OSError, pa.ArrowException) as problem:
            raise _damaged(self.method, file, problem) from problem
        names = opened.schema_arrow.names
        column = next((c for c in IMAGES if c in names), None)
        label = next((c for c in self.labels if c in names), None)
        if column is None or label is None:
            raise SpecError(
                f"{self.method}: {str(file)!r} has the columns {', '.join(names)}; needed: img (or "
                f"image) and {self.labels[0]}."
            )
        if opened.metadata.num_rows > _MOST:
            raise SpecError(
                f"{self.method}: {str(file)!r} has {opened.metadata.num_rows} rows, more than "
                f"{_MOST}."
            )
        return opened, column, label

    def _labels_of(self, file: Path) -> list[Any]:
        opened, _, label = self._open(file)
        found: list[Any] = opened.read(columns=[label]).column(0).to_pylist()
        return found

    def _numbers_of(self, file: Path) -> NDArray[np.int64]:
        opened, _, label = self._open(file)
        column = opened.read(columns=[label]).column(0)
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _key(file: Path, row: int) -> str:
    return f"{file.name} row {row}"


def _read(method: str, file: Path, read: Callable[[], T]) -> T:
    """What ``read`` gives. Raises SpecError for whatever a damaged file leads to."""
    try:
        return read()
    except SpecError:
        raise
    except MemoryError as problem:
        raise _too_large(method, file) from problem
    except Exception as problem:
        raise _damaged(method, file, problem) from problem


def _damaged(method: str, file: Path, problem: Exception) -> SpecError:
    reason = " ".join(str(problem).split()).rstrip(" .")
    return SpecError(
        f"{method}: cannot read {str(file)!r} as Parquet: {reason}. Download it again."
    )


def _too_large(method: str, file: Path) -> SpecError:
    return SpecError(
        f"{method}: {str(file)!r} takes more memory than there is. Free some; if that does not "
        "help, it may be damaged: download it again."
    )


def _encoded(batches: Iterator[Any]) -> list[Any]:
    batch = next(batches, None)
    if batch is None:
        return []
    column = batch.column(0)
    found: list[Any] = (
        column.field("bytes") if pa.types.is_struct(column.type) else column
    ).to_pylist()
    return found
