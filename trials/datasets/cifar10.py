"""CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels in ten classes, read from a
folder.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
Deviation: never downloads. Reads the binary version, the Python version (known by its MD5 sums) and
Parquet. Smaller images are made here, by averaging, for runs of minutes.
"""

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from trials.datasets._cache import cached
from trials.datasets._cifar10_layouts import source
from trials.datasets._files import fingerprint, located
from trials.spec import Count, Location, PositiveInt, SpecError
from trials.types import Images

_SIZES = (32, 16, 8)
_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "$POISONSWEEP_DATA/cifar10",
    subset: Count = 0,
    size: PositiveInt = 32,
) -> Images:
    """The training or test images.

    Args:
        split: ``train`` or ``test``.
        root: folder that holds cifar-10-batches-bin, cifar-10-batches-py or train.parquet and
            test.parquet.
        subset: number of training images, the first ones of each class in equal shares; 0 for all.
            The test set stays whole.
        size: side of the images in pixels, each the mean of a square of the original's: 32, 16 or
            8.

    Raises:
        SpecError: there is no CIFAR-10 under ``root``, it is damaged, ``subset`` is larger than it,
            or there is no such ``size``.
    """
    if size not in _SIZES:
        raise SpecError(f"cifar10: size must be one of {', '.join(map(str, _SIZES))}, got {size}.")
    place = located("cifar10", root)
    found = source(place, split)
    y = torch.from_numpy(found.labels())
    if not len(y) or int(y.min()) < 0 or int(y.max()) > 9:
        raise SpecError(
            f"cifar10: {str(found.files[0])!r} has no labels in 0..9, so it is not CIFAR-10."
        )
    if split == "train" and subset > len(y):
        raise SpecError(
            f"cifar10: subset is {subset}, but there are {len(y)} training images. Write 0 for all."
        )
    x = cached(f"cifar10-{fingerprint(place, found.files)[:32]}", (len(y), 3, 32, 32), found.chunks)
    images = Images(x, y, 10, _NAMES, pad=size // 8, flip=True)
    images = images.take(_first(y, subset)) if subset and split == "train" else images
    return images if size == images.x.shape[-1] else replace(images, x=_averaged(images.x, size))


def _averaged(x: Tensor, size: int) -> Tensor:
    """uint8 (n, c, size, size), means over squares of uint8 (n, c, h, h), some images at a time."""
    side = x.shape[-1] // size
    parts = (F.avg_pool2d(part.float(), side) for part in torch.split(x, 4096))
    return torch.cat([part.round().to(torch.uint8) for part in parts])


def _first(y: Tensor, n: int) -> Tensor:
    """Places of the first ``n`` images, the classes taking turns."""
    turn = torch.empty_like(y)
    for label in range(10):
        of_class = (y == label).nonzero().flatten()
        turn[of_class] = torch.arange(len(of_class))
    return torch.argsort(turn * 10 + y)[:n].sort().values
