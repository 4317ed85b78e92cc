"""Imagenette: 9,469 training and 3,925 test images of ten easily told classes of ImageNet, read
from a folder.

Source: Howard 2019, Imagenette, github.com/fastai/imagenette; the layout of torchvision's
``Imagenette``.
Deviation: never downloads. The images are scaled once, to a shorter side of 256 (for size 224), and
the centre is kept; training shifts by up to an eighth of the size and mirrors.
"""

from pathlib import Path
from typing import Literal

from trials.datasets._files import located
from trials.datasets._train_val import read, wnids
from trials.spec import Count, Location, PositiveInt, SpecError
from trials.types import Images

_FOLDERS = ("imagenette2", "imagenette2-320", "imagenette2-160")  # the largest images first
_NAMES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "$POISONSWEEP_DATA/imagenette",
    size: PositiveInt = 128,
    per_class: Count = 0,
) -> Images:
    """The training or test images.

    Args:
        split: ``train`` or ``test`` (the folder ``val``).
        root: folder that holds imagenette2, imagenette2-320 or imagenette2-160 (the first that is
            there is read), or train and val themselves.
        size: side of the images in pixels.
        per_class: number of training images of each class, the first by name; 0 for all. The test
            set stays whole.

    Raises:
        SpecError: no such folders, other classes than Imagenette's, or an image that cannot be
            read.
    """
    top = _top(located("imagenette", root))
    found = wnids("imagenette", top)
    if lone := sorted(set(found) ^ set(_NAMES)):
        raise SpecError(
            f"imagenette: {str(top)!r} holds {len(found)} classes, and {lone[0]!r} is "
            f"{'missing' if lone[0] in _NAMES else 'none of the ten'}. Use the dataset imagenet "
            "for other classes."
        )
    x, y = read("imagenette", top, split, list(_NAMES), per_class, size)
    return Images(x, y, len(_NAMES), tuple(_NAMES.values()), pad=size // 8, flip=True)


def _top(place: Path) -> Path:
    return next((place / name for name in _FOLDERS if (place / name).is_dir()), place)
