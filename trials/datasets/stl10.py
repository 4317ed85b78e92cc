"""STL-10: 5,000 training and 8,000 test images of 96x96 pixels in ten classes, read from a folder.

Source: Coates, Lee, Ng 2011, An Analysis of Single Layer Networks in Unsupervised Feature Learning;
the layout of torchvision's ``STL10``.
Deviation: never downloads. The 100,000 images without labels are not read. Smaller images are made
here, by averaging.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from trials.datasets._cache import cached
from trials.datasets._files import fingerprint, located
from trials.datasets._reduced import averaged
from trials.spec import Location, PositiveInt, SpecError
from trials.types import Images

_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_SIDE = 96
_SIZES = (96, 48, 32, 24)
_IMAGE = 3 * _SIDE**2  # bytes
_CHUNK = 1000  # images read together


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "$POISONSWEEP_DATA/stl10",
    size: PositiveInt = 96,
) -> Images:
    """The training or test images.

    Args:
        split: ``train`` or ``test``.
        root: folder that holds stl10_binary, or train_X.bin, train_y.bin, test_X.bin and test_y.bin
            themselves.
        size: side of the images in pixels, each the mean of a square of the original's: 96, 48, 32
            or 24.

    Raises:
        SpecError: a file is missing or damaged, or there is no such ``size``.
    """
    if size not in _SIZES:
        raise SpecError(f"stl10: size must be one of {', '.join(map(str, _SIZES))}, got {size}.")
    place = located("stl10", root)
    inner = place / "stl10_binary"
    top = inner if inner.is_dir() else place
    pixels, labels = top / f"{split}_X.bin", top / f"{split}_y.bin"
    for file in (pixels, labels):
        if not file.is_file():
            raise SpecError(
                f"stl10: {str(file)!r} is not there. Set root = the folder that holds it."
            )
    y = np.fromfile(labels, dtype=np.uint8).astype(np.int64) - 1
    if not len(y) or y.min() < 0 or y.max() >= len(_NAMES):
        raise SpecError(f"stl10: {str(labels)!r} has no labels in 1..10. Download it again.")
    if pixels.stat().st_size != len(y) * _IMAGE:
        raise SpecError(
            f"stl10: {str(pixels)!r} has {pixels.stat().st_size} bytes, needed are {_IMAGE} for "
            f"each of {len(y)} labels. Download it again."
        )
    key = f"stl10-{fingerprint(place, [pixels])[:32]}"
    x = cached(key, (len(y), 3, _SIDE, _SIDE), lambda: _chunks(pixels))
    return Images(averaged(x, size), torch.from_numpy(y), 10, _NAMES, pad=size // 8, flip=True)


def _chunks(pixels: Path) -> Iterator[NDArray[np.uint8]]:
    with pixels.open("rb") as stream:
        while content := stream.read(_CHUNK * _IMAGE):
            part = np.frombuffer(content, dtype=np.uint8).reshape(-1, 3, _SIDE, _SIDE)
            yield part.transpose(0, 1, 3, 2)  # stored column by column
