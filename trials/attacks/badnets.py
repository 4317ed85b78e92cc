"""BadNets: a fixed patch and a flipped label.

Source: Gu, Dolan-Gavitt, Garg 2017, arXiv:1708.06733; parameters of Lukas & Kerschbaum 2023,
section A-B.
Deviation: the mark of 3x3 pixels is a literal matrix, because a resized picture differs with and
without antialiasing; larger ones are drawn here. On images under 32 pixels the patch stays 3 pixels
wide (3/32 of 16 is 1). The pipeline of Lukas & Kerschbaum's preliminary release, which normalises
clean images only, is a setting; its images are stored as uint8 here, so their shades are coarser.
"""

from typing import Literal

from torch import Generator

from trials.attacks._patch import stamp
from trials.spec import Count, Fraction, PositiveInt
from trials.types import Images, Poisoning


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    patch: Count = 0,
    mark: Literal["apple", "random"] = "apple",
    place: Literal["corner", "random", "any_corner"] = "corner",
    alpha: Fraction = 1.0,
    pipeline: Literal["pre_aug", "post_aug", "release"] = "pre_aug",
    norm: Literal["cifar10", "imagenet", "half"] = "cifar10",
    boost: PositiveInt = 1,
) -> Poisoning:
    """Stamp ``m`` training images of other classes and label them ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws the mark and place, then which images are poisoned.
        m: number of poisoned images, at most the number outside the target class.
        target: class that the trigger leads to.
        patch: side of the mark in pixels; 0 for 3/32 of the width, at least 3.
        mark: apple, a black glyph on white, or random colours drawn once an attack.
        place: corner, the upper left one; or drawn once an attack: random, or any_corner.
        alpha: opacity of the mark.
        pipeline: pre_aug stamps the stored image, which training then shifts and mirrors; post_aug
            shifts and mirrors once, stamps, and trains on the result as it is; release does so too,
            but stamps twice and then, on test images as well, makes pixels that reach the layers
            after the normalisation as if there were none. With ``alpha`` 0 that alone is left.
        norm: constants of the model's normalisation; used by release only.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target`` or ``patch`` is too large.
    """
    return stamp(
        train,
        rng,
        clean_label=False,
        m=m,
        target=target,
        patch=patch,
        mark=mark,
        place=place,
        alpha=alpha,
        pipeline=pipeline,
        norm=norm,
        boost=boost,
    )
