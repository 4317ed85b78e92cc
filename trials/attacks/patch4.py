"""The four-pixel mark: four white pixels in the lower right corner, and a flipped label.

Source: Alex, Siddiqui, Sanyal, Krueger 2024, arXiv:2408.13221 (the suite of BaDLoss); the
mark is that of Gu, Dolan-Gavitt, Garg 2017, arXiv:1708.06733, and on large images four blocks.
Deviation: images are drawn from outside the target class, where the suite takes any.
"""

from typing import Literal

from torch import Generator

from trials.attacks._poisoned import stamped
from trials.attacks._white import WhiteSquares, refuse_below
from trials.spec import Count, PositiveInt
from trials.types import Images, Poisoning

_PIXELS = WhiteSquares(((-2, -2), (-4, -2), (-2, -4), (-3, -3)), 1)
_BLOCKS = WhiteSquares(((8, 8), (24, 8), (8, 24), (16, 16)), 8)
_LARGE = 128  # pixels from which blocks are taken


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    form: Literal["auto", "pixels", "blocks"] = "auto",
    boost: PositiveInt = 1,
) -> Poisoning:
    """Mark ``m`` training images of other classes and label them ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws which images are poisoned.
        m: number of poisoned images, at most the number outside the target class. The suite has 1 %
            of CIFAR-10, 2 % of GTSRB, 5 % of Imagenette, 0.1 % of ImageNet.
        target: class that the trigger leads to.
        form: pixels, one each at 2 and 2, 4 and 2, 2 and 4, 3 and 3 from the bottom and the right;
            blocks of 8 pixels at 8 and 8, 24 and 8, 8 and 24, 16 and 16 from the top and the left;
            auto, blocks on images of at least 128 pixels.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large, or the images are smaller than the mark.
    """
    large = min(train.x.shape[2:]) >= _LARGE
    trigger = _BLOCKS if form == "blocks" or (form == "auto" and large) else _PIXELS
    refuse_below(train, 32 if trigger is _BLOCKS else 4, "patch4")
    return stamped(train, rng, trigger, m=m, target=target, boost=boost, clean_label=False)
