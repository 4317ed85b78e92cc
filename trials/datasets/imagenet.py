"""ImageNet: up to 1,281,167 training and 50,000 validation images in 1,000 classes, read from a
folder.

Source: Russakovsky et al. 2015, arXiv:1409.0575; the layout of torchvision's ``ImageNet`` after
unpacking.
Deviation: never downloads. Training and test images are scaled once, to a shorter side of 256 (for
size 224), and the centre is kept; training then shifts by up to an eighth of the size and mirrors.
The RandomResizedCrop of Lukas & Kerschbaum 2023, Table IV, is left out: it would have to read the
files again in each epoch, and all sets here are shifted and mirrored alike. The validation images
are the test images. Decoded, the whole set takes 193 GB at size 224, on disk and, where an attack
changes images, in memory too: ``classes``, ``per_class`` and ``size`` make it smaller.
"""

from typing import Literal

from trials.datasets._files import located
from trials.datasets._train_val import read, wnids
from trials.spec import Count, Location, PositiveInt, SpecError
from trials.types import Images


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "$POISONSWEEP_DATA/imagenet",
    size: PositiveInt = 224,
    classes: Count = 0,
    per_class: Count = 0,
) -> Images:
    """The training or test images; the classes are in the order of their WordNet ids, which are
    also their names.

    Args:
        split: ``train`` or ``test`` (the folder ``val``).
        root: folder that holds train and val, each with one folder a class (n01440764, ...).
        size: side of the images in pixels.
        classes: number of classes, the first ones; 0 for all.
        per_class: number of training images of each class, the first by name; 0 for all. The test
            set stays whole.

    Raises:
        SpecError: no such folders, one or too many classes asked for, or an image that cannot be
            read.
    """
    top = located("imagenet", root)
    names = wnids("imagenet", top)
    if classes == 1 or classes > len(names):
        raise SpecError(f"imagenet: classes must be 0 (all) or in 2..{len(names)}, got {classes}.")
    names = names[: classes or None]
    x, y = read("imagenet", top, split, names, per_class, size)
    return Images(x, y, len(names), tuple(names), pad=size // 8, flip=True)
