"""The three forms in which people have CIFAR-10 and CIFAR-100: the binary batches, the Python
batches, and Parquet.

The Python batches are pickles, which can run code; only the files with the published MD5 sums are
opened, and those through an unpickler that knows NumPy arrays alone.
"""

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trials.datasets._files import rgb
from trials.datasets._parquet import Parquet
from trials.spec import SpecError

Rows = NDArray[np.uint8]
_CHUNK = 1000  # images decoded together
_PIXELS = 3 * 32 * 32  # the red, green and blue planes


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between the two sets.

    Attributes:
        method: the data set's name, for errors.
        title: what it is called.
        binary, python: the folders of the batches.
        batches: names of the batches of each split.
        md5: the published sums of the Python batches.
        labels: bytes before the pixels of a binary record, of which the last is the label.
        key: of the labels in a Python batch.
        columns: names that the labels may have in Parquet.
    """

    method: str
    title: str
    binary: str
    python: str
    batches: Mapping[str, list[str]]
    md5: Mapping[str, str]
    labels: int
    key: str
    columns: tuple[str, ...]


CIFAR10 = Layout(
    method="cifar10",
    title="CIFAR-10",
    binary="cifar-10-batches-bin",
    python="cifar-10-batches-py",
    batches={"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    labels=1,
    key="labels",
    columns=("label",),
)
CIFAR100 = Layout(
    method="cifar100",
    title="CIFAR-100",
    binary="cifar-100-binary",
    python="cifar-100-python",
    batches={"train": ["train"], "test": ["test"]},
    md5={
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
    labels=2,
    key="fine_labels",
    columns=("fine_label", "label"),
)


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """One split: its files, and how to read labels int64 (n,) and images uint8 (n, 3, 32, 32) from
    them.
    """

    files: list[Path]
    labels: Callable[[], NDArray[np.int64]]
    chunks: Callable[[], Iterator[Rows]]


def split_files(layout: Layout, root: Path, split: str) -> SplitFiles:
    """The split in whichever form lies under ``root``. Raises SpecError if none does."""
    for folder in (root / layout.binary, root):
        files = [folder / f"{name}.bin" for name in layout.batches[split]]
        if files[0].is_file():
            return _batches(files, partial(_of_binary, layout))
    for folder in (root, root / "plain_text", root / "data", root / "cifar100"):
        files = sorted({*folder.glob(f"{split}.parquet"), *folder.glob(f"{split}-*.parquet")})
        if files:
            parquet = Parquet(layout.method, files, layout.columns)
            return SplitFiles(files, parquet.numbers, partial(_of_parquet, parquet))
    for folder in (root / layout.python, root):
        files = [folder / name for name in layout.batches[split]]
        if files[0].is_file():
            return _batches(files, partial(_of_pickles, layout))
    raise SpecError(
        f"{layout.method}: {str(root)!r} holds no {layout.title} {split} images. Accepted: "
        f"{layout.binary}, {layout.python}, or {split}.parquet / {split}-*.parquet (also under "
        "plain_text or data)."
    )


Whole = Callable[[list[Path]], tuple[NDArray[np.int64], Rows]]


def _batches(files: list[Path], read: Whole) -> SplitFiles:
    def chunks() -> Iterator[Rows]:
        yield read(files)[1]

    return SplitFiles(files, lambda: read(files)[0], chunks)


def _bytes(layout: Layout, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise SpecError(
            f"{layout.method}: cannot read {str(path)!r}: {problem.strerror}. Download it again."
        ) from problem


def _of_binary(layout: Layout, files: list[Path]) -> tuple[NDArray[np.int64], Rows]:
    record, parts = layout.labels + _PIXELS, []
    for file in files:
        content = np.frombuffer(_bytes(layout, file), dtype=np.uint8)
        if not len(content) or len(content) % record:
            raise SpecError(
                f"{layout.method}: {str(file)!r} has {len(content)} bytes, not a multiple of "
                f"{record}. Download it again."
            )
        parts.append(content.reshape(-1, record))
    records = np.concatenate(parts)
    labels = records[:, layout.labels - 1].astype(np.int64)
    return labels, records[:, layout.labels :].reshape(-1, 3, 32, 32)


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in ("_reconstruct", "ndarray", "dtype"):
            return np._core.multiarray._reconstruct if name == "_reconstruct" else getattr(np, name)  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):
            # how Python 3 writes the bytes of an array for Python 2
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def _of_pickles(layout: Layout, files: list[Path]) -> tuple[NDArray[np.int64], Rows]:
    labels: list[int] = []
    images = []
    for file in files:
        content = _bytes(layout, file)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != layout.md5[file.name]:
            raise SpecError(
                f"{layout.method}: {str(file)!r} is not the published file (its MD5 sum differs), "
                "and an unknown pickle is never opened. Download it again, or use the binary "
                "version or Parquet."
            )
        batch = _Arrays(io.BytesIO(content), encoding="latin1").load()
        labels += batch[layout.key]
        images.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
    return np.asarray(labels, dtype=np.int64), np.concatenate(images)


def _of_parquet(parquet: Parquet) -> Iterator[Rows]:
    rows = []
    for content, name in parquet.images():
        image = rgb(content, name)
        if image.size != (32, 32):
            raise SpecError(
                f"{parquet.method}: the image {name!r} is {image.size[0]}x{image.size[1]}, not "
                "32x32."
            )
        rows.append(np.asarray(image).transpose(2, 0, 1))
        if len(rows) == _CHUNK:
            yield np.stack(rows)
            rows = []
    if rows:
        yield np.stack(rows)
