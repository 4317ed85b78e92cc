"""CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels in ten classes, read from a
folder.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
Deviation: never downloads. Reads the binary version, the Python version (known by its MD5 sums) and
Parquet. Smaller images are made here, by averaging, for runs of minutes.
"""

from dataclasses import replace
from typing import Literal

import torch

from trials.datasets._cache import cached
from trials.datasets._cifar_layouts import CIFAR10, split_files
from trials.datasets._files import fingerprint, located
from trials.datasets._reduced import averaged, first, long_tailed
from trials.spec import Count, Location, PositiveFraction, PositiveInt, SpecError
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
    imbalance: PositiveFraction = 1.0,
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
        imbalance: training images of the last class as a share of those of the first, the classes
            between them falling exponentially; 1 keeps all. The test set stays balanced.

    Raises:
        SpecError: there is no CIFAR-10 under ``root``, it is damaged, ``subset`` is larger than it,
            or there is no such ``size``.
    """
    if size not in _SIZES:
        raise SpecError(f"cifar10: size must be one of {', '.join(map(str, _SIZES))}, got {size}.")
    place = located("cifar10", root)
    found = split_files(CIFAR10, place, split)
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
    if split == "train":
        images = images.take(first(y, subset, 10)) if subset else images
        images = long_tailed(images, imbalance)
    return images if size == images.x.shape[-1] else replace(images, x=averaged(images.x, size))
