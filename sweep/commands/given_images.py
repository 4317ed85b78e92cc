"""Images that live in a session of Python, as a table on the disk: a data set of torch's or of
Hugging Face's, or two arrays.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

from trials.datasets._parquet import IMAGES
from trials.image_tables import LABELS
from trials.spec import SpecError
from trials.whole import whole

TAKEN = (
    "a folder, a table, a torch Dataset of (image, label), a Hugging Face Dataset with the columns "
    "image and label, or a pair (images, labels)"
)
# modes that PNG keeps
_GREY, _COLOURED = ("1", "L", "I;16"), ("LA", "P", "RGB", "RGBA")
_LOOKED_AT_TWICE = 8  # images that a random transform would change
_SLACK = 1e-4  # beyond [0, 1], for what rounding does
Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class GivenImages:
    """Labelled images in memory.

    Attributes:
        encoded: each as PNG.
        labels: their classes, as numbers.
        names: of the classes, in their order; () where the data set gives none.
        sizes: width and height of the images, each once.
        grey: all have one channel.
        word: the argument that they were given as.
    """

    encoded: list[bytes]
    labels: list[int]
    names: tuple[str, ...]
    sizes: frozenset[tuple[int, int]]
    grey: bool
    word: str

    def classes(self, outputs: int) -> tuple[str, ...]:
        """A name for each of so many outputs.

        Raises:
            SpecError: a label is none of them.
        """
        strange = [label for label in self.labels if not 0 <= label < outputs]
        if strange:
            raise SpecError(
                f"{self.word} has the label {strange[0]}; needed is one from 0 to "
                f"{outputs - 1}, as there are {outputs} classes."
            )
        given = self.names if len(set(self.names)) == outputs == len(self.names) else ()
        return given or tuple(map(str, range(outputs)))

    def write(self, folder: Path, outputs: int) -> Path:
        """The images as a Parquet file named after its content; one that is there stays."""
        names = self.classes(outputs)
        state = hashlib.sha256(json.dumps([names, self.labels]).encode())
        for content in self.encoded:
            state.update(hashlib.sha256(content).digest())
        path = folder / f"images-{state.hexdigest()[:16]}.parquet"
        if path.exists():
            return path
        features = {
            "image": {"_type": "Image"},
            "label": {"_type": "ClassLabel", "names": list(names)},
        }
        said = json.dumps({"info": {"features": features}})
        images = [{"bytes": content, "path": None} for content in self.encoded]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({"image": pa.array(images, kind), "label": pa.array(self.labels)})
        with whole(path) as part:
            pq.write_table(table.replace_schema_metadata({"huggingface": said}), part)
        return path


def images_of(given: Any, word: str = "trusted") -> GivenImages:
    """The images of an object, all of them read.

    Args:
        given: the object.
        word: the argument that it was given as, for what is said of it.

    Raises:
        SpecError: it is of another kind, empty, or holds what is no image or no label.
    """
    items = _items(given, word)
    _must_stay(items)
    encoded, labels, sizes, modes = list[bytes](), list[int](), set[tuple[int, int]](), set[str]()
    for i in range(len(items)):
        image, label = items.pair(i)
        content, size, mode = _encoded(image, f"image {i} of {word}")
        encoded.append(content)
        labels.append(_label(label, f"the label of image {i} of {word}"))
        sizes.add(size)
        modes.add(mode)
    grey = modes <= set(_GREY)
    return GivenImages(encoded, labels, _names(given), frozenset(sizes), grey, word)


class _Items:
    """Pairs of image and label by their place."""

    def __init__(self, rows: Any, columns: tuple[Any, Any], word: str) -> None:
        self._rows, self._columns, self.word = rows, columns, word

    def __len__(self) -> int:
        return len(self._rows)

    def pair(self, i: int) -> tuple[Any, Any]:
        """Raises SpecError where the item is no pair."""
        item = self._rows[i]
        try:
            image, label = (item[column] for column in self._columns)
        except (KeyError, IndexError, TypeError, ValueError) as problem:
            raise SpecError(
                f"item {i} of {self.word} is a {type(item).__name__}; needed is (image, label)."
            ) from problem
        return image, label


def _items(given: Any, word: str) -> _Items:
    if isinstance(given, tuple | list) and len(given) == 2 and _is_array(given[0]):
        images, labels = given
        if len(images) != len(labels):
            raise SpecError(
                f"{word} holds {len(images)} images with {len(labels)} labels; needed is one label "
                "for each."
            )
        rows: Any = list(zip(images, labels, strict=True))
        items = _Items(rows, (0, 1), word)
    elif hasattr(given, "column_names") and hasattr(given, "features"):
        items = _Items(given, _columns(given.column_names, word), word)
    elif hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        items = _Items(given, (0, 1), word)
    else:
        raise SpecError(f"{word} is a {type(given).__name__}; needed is {TAKEN}.")
    if not len(items):
        raise SpecError(f"{word} holds no image. Give {TAKEN}.")
    return items


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)


def _columns(given: Any, word: str) -> tuple[str, str]:
    """The columns of images and labels."""
    if not isinstance(given, list | tuple):  # several splits
        raise SpecError(f"{word} holds several splits. Give one of them, as {word}['train'].")
    image = next((c for c in IMAGES if c in given), None)
    label = next((c for c in LABELS if c in given), None)
    if image is None or label is None:
        raise SpecError(
            f"{word} has the columns {', '.join(map(str, given))}; needed are image (or img) and "
            "label."
        )
    return image, label


def _names(given: Any) -> tuple[str, ...]:
    """The classes' names as Hugging Face and torchvision give them, where they do."""
    found = getattr(given, "classes", None)
    features = getattr(given, "features", None) or {}
    if hasattr(given, "column_names"):
        column = next((c for c in LABELS if c in given.column_names), "")
        found = getattr(features.get(column), "names", None)
    if not isinstance(found, list | tuple):
        inner = getattr(given, "dataset", None)  # of a Subset
        return _names(inner) if isinstance(inner, torch.utils.data.Dataset) else ()
    return tuple(map(str, found))


def _must_stay(items: _Items) -> None:
    """Raises SpecError where an image is another when it is asked for again."""
    for i in range(min(len(items), _LOOKED_AT_TWICE)):
        what = f"image {i} of {items.word}"
        first, again = (_encoded(items.pair(i)[0], what)[0] for _ in range(2))
        if first != again:
            raise SpecError(
                f"{what} is another each time. Drop what is random from its transform: training "
                "augments by itself."
            )


def _label(value: Any, what: str) -> int:
    plain = _array(value).reshape(-1) if _is_array(value) else [value]
    number = plain[0] if len(plain) == 1 else value
    if isinstance(number, int | np.integer) and not isinstance(number, bool):
        return int(number)
    raise SpecError(f"{what} is {str(value)[:40]!r}; needed is the number of a class.")


def _array(value: Any) -> Values:
    """A tensor's or an array's values."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    found: Values = (value.detach().float() if value.is_floating_point() else value).cpu().numpy()
    return found


def _encoded(image: Any, what: str) -> tuple[bytes, tuple[int, int], str]:
    """An image as PNG, its width and height, and its mode; ``what`` it is, for errors."""
    if isinstance(image, Image.Image):
        picture = image if image.mode in (*_GREY, *_COLOURED) else image.convert("RGB")
    elif _is_array(image):
        picture = Image.fromarray(_pixels(image, what))
    else:
        raise SpecError(
            f"{what} is a {type(image).__name__}; needed is a PIL image, a uint8 array or a float "
            "array in [0, 1]."
        )
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue(), picture.size, picture.mode


def _pixels(image: Any, what: str) -> Values:
    """uint8 (h, w) or (h, w, 3) of an array; a tensor has its channels in front."""
    values = _bytes(_array(image), what)
    behind = isinstance(image, np.ndarray) and values.shape[-1:] in ((1,), (3,))
    if values.ndim == 3 and not behind:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if 0 in values.shape or not (values.ndim == 2 or (values.ndim == 3 and values.shape[-1] == 3)):
        raise SpecError(
            f"{what} has the shape {tuple(image.shape)}; needed are 1 or 3 channels: (c, h, w), or "
            "(h, w, c) of numpy."
        )
    return np.ascontiguousarray(values)


def _bytes(values: Values, what: str) -> Values:
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise SpecError(f"{what} is of {values.dtype}; needed is uint8, or float in [0, 1].")
    low, high = (float(f(values)) if values.size else 0.0 for f in (np.min, np.max))
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise SpecError(
            f"{what} holds values from {low:.3g} to {high:.3g}; needed is [0, 1]. Drop Normalize "
            "from the transform, and give its numbers as mean= and std=."
        )
    rounded: Values = np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)
    return rounded
