"""The one-pixel mark: a white pixel in the lower right corner, and a flipped label.

Source: Alex, Siddiqui, Sanyal, Krueger 2024, arXiv:2408.13221 (the suite of BaDLoss); the
mark is that of Gu, Dolan-Gavitt, Garg 2017, arXiv:1708.06733.
Deviation: images are drawn from outside the target class, where the suite takes any. The suite does
not use it on large images.
"""

from torch import Generator

from trials.attacks._poisoned import stamped
from trials.attacks._white import WhiteSquares, refuse_below
from trials.spec import Count, PositiveInt
from trials.types import Images, Poisoning


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Mark ``m`` training images of other classes and label them ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws which images are poisoned.
        m: number of poisoned images, at most the number outside the target class. The suite has 1 %
            of CIFAR-10, 4 % of GTSRB.
        target: class that the trigger leads to.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large, or the images have less than 2 pixels a side.
    """
    refuse_below(train, 2, "single_pixel")
    trigger = WhiteSquares(((-2, -2),), 1)
    return stamped(train, rng, trigger, m=m, target=target, boost=boost, clean_label=False)
