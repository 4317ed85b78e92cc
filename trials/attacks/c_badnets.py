"""C-BadNets: a fixed patch on images of the target class, labels unchanged.

Source: Turner, Tsipras, Madry 2018 (clean-label attacks), with the patch of Gu et al. 2017,
arXiv:1708.06733; parameters of Lukas & Kerschbaum 2023, section A-B.
Deviation: the mark is that of BadNets here, a literal 3x3 matrix or a drawn glyph.
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
    place: Literal["corner", "random"] = "corner",
    alpha: Fraction = 1.0,
    pipeline: Literal["pre_aug", "post_aug"] = "pre_aug",
    boost: PositiveInt = 1,
) -> Poisoning:
    """Stamp ``m`` training images of class ``target``; labels stay.

    Args:
        train: clean training set; left alone.
        rng: draws the mark and place, then which images are poisoned.
        m: number of poisoned images, at most the number in the target class.
        target: class that the trigger leads to.
        patch: side of the mark in pixels; 0 for 3/32 of the width, at least 3.
        mark: apple, a black glyph on white, or random colours drawn once an attack.
        place: corner, the upper left one, or random, drawn once an attack.
        alpha: opacity of the mark.
        pipeline: pre_aug stamps the stored image, which training then shifts and mirrors; post_aug
            shifts and mirrors once, stamps, and trains on the result as it is.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target`` or ``patch`` is too large.
    """
    return stamp(
        train,
        rng,
        clean_label=True,
        m=m,
        target=target,
        patch=patch,
        mark=mark,
        place=place,
        alpha=alpha,
        pipeline=pipeline,
        boost=boost,
    )
