"""The three forms in which people have CIFAR-10: the binary batches, the Python batches, and
Parquet.

The Python batches are pickles, which can run code; only the six files with the published MD5 sums
are opened, and those through an unpickler that knows NumPy arrays alone.
"""

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trials.datasets._files import rgb
from trials.spec import SpecError

T = TypeVar("T")
Rows = NDArray[np.uint8]
_MOST_ROWS = 1_000_000  # of a Parquet file
_RECORD = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue planes
_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One split: its files, and how to read labels int64 (n,) and images uint8 (n, 3, 32, 32) from
    them.
    """

    files: list[Path]
    labels: Callable[[], NDArray[np.int64]]
    chunks: Callable[[], Iterator[Rows]]


def source(root: Path, split: str) -> Source:
    """The split in whichever form lies under ``root``. Raises SpecError if none does."""
    for folder in (root / "cifar-10-batches-bin", root):
        files = [folder / f"{name}.bin" for name in _BATCHES[split]]
        if files[0].is_file():
            return Source(
                files, partial(_labels, _of_binary, files), partial(_images, _of_binary, files)
            )
    for folder in (root, root / "plain_text", root / "data"):
        files = sorted({*folder.glob(f"{split}.parquet"), *folder.glob(f"{split}-*.parquet")})
        if files:
            return Source(files, partial(_parquet_labels, files), partial(_parquet_images, files))
    for folder in (root / "cifar-10-batches-py", root):
        files = [folder / name for name in _BATCHES[split]]
        if files[0].is_file():
            return Source(
                files, partial(_labels, _of_pickles, files), partial(_images, _of_pickles, files)
            )
    raise SpecError(
        f"cifar10: {str(root)!r} holds no CIFAR-10 {split} images. Accepted: cifar-10-batches-bin, "
        f"cifar-10-batches-py, or {split}.parquet / {split}-*.parquet (also under plain_text or "
        "data)."
    )


Whole = Callable[[list[Path]], tuple[NDArray[np.int64], Rows]]


def _labels(read: Whole, files: list[Path]) -> NDArray[np.int64]:
    return read(files)[0]


def _images(read: Whole, files: list[Path]) -> Iterator[Rows]:
    yield read(files)[1]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise SpecError(
            f"cifar10: cannot read {str(path)!r}: {problem.strerror}. Download it again."
        ) from problem


def _of_binary(files: list[Path]) -> tuple[NDArray[np.int64], Rows]:
    parts = []
    for file in files:
        content = np.frombuffer(_bytes(file), dtype=np.uint8)
        if not len(content) or len(content) % _RECORD:
            raise SpecError(
                f"cifar10: {str(file)!r} has {len(content)} bytes, not a multiple of {_RECORD}. "
                "Download it again."
            )
        parts.append(content.reshape(-1, _RECORD))
    records = np.concatenate(parts)
    return records[:, 0].astype(np.int64), records[:, 1:].reshape(-1, 3, 32, 32)


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in ("_reconstruct", "ndarray", "dtype"):
            return np._core.multiarray._reconstruct if name == "_reconstruct" else getattr(np, name)  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):
            # how Python 3 writes the bytes of an array for Python 2
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def _of_pickles(files: list[Path]) -> tuple[NDArray[np.int64], Rows]:
    labels: list[int] = []
    images = []
    for file in files:
        content = _bytes(file)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != _MD5[file.name]:
            raise SpecError(
                f"cifar10: {str(file)!r} is not the published file (its MD5 sum differs), and an "
                "unknown pickle is "
                "never opened. Download it again, or use the binary version or Parquet."
            )
        batch = _Arrays(io.BytesIO(content), encoding="latin1").load()
        labels += batch["labels"]
        images.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
    return np.asarray(labels, dtype=np.int64), np.concatenate(images)


def _open(file: Path) -> tuple[pq.ParquetFile, str]:
    try:
        opened = pq.ParquetFile(file)
    except MemoryError as problem:  # Arrow's is one of its other errors too
        raise _too_large(file) from problem
    except (OSError, pa.ArrowException) as problem:
        raise SpecError(
            f"cifar10: cannot read {str(file)!r} as Parquet: {problem}. Download it again."
        ) from problem
    names = opened.schema_arrow.names
    column = next((c for c in ("img", "image") if c in names), None)
    if column is None or "label" not in names:
        raise SpecError(
            f"cifar10: {str(file)!r} has the columns {', '.join(names)}; needed: img (or image) "
            "and label."
        )
    if opened.metadata.num_rows > _MOST_ROWS:
        raise SpecError(
            f"cifar10: {str(file)!r} has {opened.metadata.num_rows} rows, far more than CIFAR-10."
        )
    return opened, column


def _parquet_labels(files: list[Path]) -> NDArray[np.int64]:
    return np.concatenate([_damaged(file, partial(_labels_of, file)) for file in files])


def _labels_of(file: Path) -> NDArray[np.int64]:
    labels = _open(file)[0].read(columns=["label"]).column(0)
    return np.asarray(labels.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _damaged(file: Path, read: Callable[[], T]) -> T:
    """What ``read`` gives. Raises SpecError for whatever a damaged file leads to."""
    try:
        return read()
    except SpecError:
        raise
    except MemoryError as problem:
        raise _too_large(file) from problem
    except Exception as problem:
        raise SpecError(
            f"cifar10: cannot read {str(file)!r} as Parquet: {problem}. Download it again."
        ) from problem


def _too_large(file: Path) -> SpecError:
    return SpecError(
        f"cifar10: {str(file)!r} takes more memory than there is. Free some; if that does not "
        "help, it may be damaged: "
        "download it again."
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


def _parquet_images(files: list[Path]) -> Iterator[Rows]:
    for file in files:
        opened, column = _open(file)
        row = 0
        batches = opened.iter_batches(1000, columns=[column])
        while batch := _damaged(file, partial(_encoded, batches)):
            chunk = np.empty((len(batch), 3, 32, 32), dtype=np.uint8)
            for i, content in enumerate(batch):
                name = f"{file.name} row {row + i}"
                # text would be taken for a path
                image = rgb(content if isinstance(content, bytes) else b"", name)
                if image.size != (32, 32):
                    raise SpecError(
                        f"cifar10: the image {name!r} is {image.size[0]}x{image.size[1]}, not "
                        "32x32."
                    )
                chunk[i] = np.asarray(image).transpose(2, 0, 1)
            row += len(chunk)
            yield chunk
