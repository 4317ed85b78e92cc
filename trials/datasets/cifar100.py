"""CIFAR-100: 50,000 training and 10,000 test images of 32x32 pixels in 100 classes, read from a
folder.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
Deviation: never downloads. Reads the binary version, the Python version (known by its MD5 sums) and
Parquet. The 100 fine labels are the classes; the 20 coarse ones are not read.
"""

from typing import Literal

import torch

from trials.datasets._cache import cached
from trials.datasets._cifar100_names import NAMES
from trials.datasets._cifar_layouts import CIFAR100, split_files
from trials.datasets._files import fingerprint, located
from trials.datasets._reduced import first
from trials.spec import Count, Location, SpecError
from trials.types import Images


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "$POISONSWEEP_DATA/cifar100",
    subset: Count = 0,
) -> Images:
    """The training or test images.

    Args:
        split: ``train`` or ``test``.
        root: folder that holds cifar-100-binary, cifar-100-python or train.parquet and
            test.parquet.
        subset: number of training images, the first ones of each class in equal shares; 0 for all.
            The test set stays whole.

    Raises:
        SpecError: there is no CIFAR-100 under ``root``, it is damaged, or ``subset`` is larger than
            it.
    """
    place = located("cifar100", root)
    found = split_files(CIFAR100, place, split)
    y = torch.from_numpy(found.labels())
    if not len(y) or int(y.min()) < 0 or int(y.max()) >= len(NAMES):
        raise SpecError(
            f"cifar100: {str(found.files[0])!r} has no labels in 0..99, so it is not CIFAR-100."
        )
    if split == "train" and subset > len(y):
        raise SpecError(
            f"cifar100: subset is {subset}, but there are {len(y)} training images. Write 0 for "
            "all."
        )
    key = f"cifar100-{fingerprint(place, found.files)[:32]}"
    x = cached(key, (len(y), 3, 32, 32), found.chunks)
    images = Images(x, y, len(NAMES), NAMES, pad=4, flip=True)
    return images.take(first(y, subset, len(NAMES))) if subset and split == "train" else images
