"""The kinds of tables of images, read alike: labels, names, pixels and encoded bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trials.datasets import _shards
from trials.datasets._cache import cached
from trials.datasets._files import fingerprint
from trials.datasets._folders import decoded, squares
from trials.datasets._parquet import Parquet
from trials.image_tables import LABELS, SHARD, TABLES, TEXT, in_files, rows, there
from trials.spec import SpecError, content_id

METHOD = "image_table"


@dataclass(frozen=True, slots=True)
class Table:
    """The images of one split.

    Attributes:
        labels: name of the class of each.
        keys: name of each image: a path in the table's folder, a Parquet file and row, or a shard
            and the name in it.
        names: classes in the order that the table itself gives; () where it gives none.
        pixels: uint8 (n, 3, size, size) for a size.
        encoded: the bytes of each image, one after the other.
        unused: names of files in the table that are not used.
    """

    labels: list[str]
    keys: list[str]
    names: tuple[str, ...]
    pixels: Callable[[int], Tensor]
    encoded: Callable[[], Iterator[Callable[[], bytes]]]
    unused: tuple[str, ...] = ()


def table_of(path: Path, split: str = "train") -> Table | None:
    """The split of a file, or of a folder of Parquet files or shards; None for a folder without
    that split.

    Raises:
        SpecError: it cannot be read, or a row has no label.
    """
    if path.is_dir():
        files = in_files(path, split)
        return _of_files(files) if files else None
    ending = path.suffix.lower()
    if not path.is_file() or ending not in TABLES:
        raise SpecError(
            f"{METHOD}: {str(path)!r} is neither a file that ends in {', '.join(TABLES)} nor a "
            "folder of Parquet files or tar shards."
        )
    return _of_text(path) if ending in TEXT else _of_files([path])


def _of_files(files: list[Path]) -> Table:
    shards = files[0].suffix.lower() == SHARD
    return _of_shards(files) if shards else _of_parquet(files)


def _of_shards(files: list[Path]) -> Table:
    found = _shards.read(METHOD, files)
    samples = found.samples

    def pixels(size: int) -> Tensor:
        key = content_id([fingerprint(files[0].parent, files), size])
        shape = (len(samples), 3, size, size)
        return cached(
            f"{METHOD}-{key}", shape, lambda: squares(_shards.encoded(samples), size, 1.0, True)
        )

    return Table(
        labels=[sample.label for sample in samples],
        keys=[sample.name for sample in samples],
        names=(),
        pixels=pixels,
        encoded=lambda: _shards.readers(samples),
        unused=tuple(found.unused),
    )


def _of_text(path: Path) -> Table:
    found = rows(path)
    files, top = [file for file, _ in found], path.resolve().parent
    if lost := [file for file in files if not there(file)]:
        raise SpecError(
            f"{METHOD}: {str(path)!r} names {len(lost)} files that are not there, the first "
            f"{str(lost[0])!r}."
        )
    return Table(
        labels=[label for _, label in found],
        keys=[file.relative_to(top).as_posix() for file in files],
        names=(),
        pixels=lambda size: decoded(METHOD, top, files, size, turn=True),
        encoded=lambda: (file.read_bytes for file in files),
    )


def _of_parquet(files: list[Path]) -> Table:
    parquet = Parquet(METHOD, files, LABELS)
    names = tuple(parquet.names())
    column = parquet.label_column()
    return Table(
        labels=[_name(label, names, i, files[0]) for i, label in enumerate(column)],
        keys=parquet.keys(),
        names=names,
        pixels=lambda size: _pixels(parquet, len(column), size),
        encoded=lambda: (partial(bytes, content) for content, _ in parquet.images()),
    )


def _name(label: object, names: tuple[str, ...], row: int, file: Path) -> str:
    """The class that a label stands for."""
    if isinstance(label, str) and label:
        return label
    if isinstance(label, int) and label >= 0 and (not names or label < len(names)):
        return names[label] if names else str(label)
    raise SpecError(
        f"{METHOD}: {str(file)!r} has the label {str(label)[:20]!r} in row {row}; needed is the "
        "name or the number of a class."
    )


def _pixels(parquet: Parquet, n: int, size: int) -> Tensor:
    def chunks() -> Iterator[NDArray[np.uint8]]:
        return squares(parquet.images(), size, turn=True)

    base = parquet.files[0].parent
    key = content_id([fingerprint(base, parquet.files), size])
    return cached(f"{METHOD}-{key}", (n, 3, size, size), chunks)
