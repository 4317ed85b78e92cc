"""Blended: a faint picture over whole images, and a flipped label.

Source: Chen et al. 2017, 'Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning',
arXiv:1712.05526, the blended injection strategy, with an opacity of 0.2.
Deviation: the picture, a house on a hill, is drawn here, where the authors blend a cartoon; noise
from the seed is their other one. Poisoned images are stored as uint8.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from trials.attacks._patch import Patch
from trials.attacks._pictures import picture_of
from trials.attacks._pipeline import poisoning, stored
from trials.attacks._poisoned import chosen, replaced
from trials.spec import Count, Fraction, PositiveInt
from trials.types import Images, Poisoning


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    mark: Literal["house", "noise", "smooth"] = "house",
    alpha: Fraction = 0.2,
    pipeline: Literal["pre_aug", "post_aug"] = "pre_aug",
    boost: PositiveInt = 1,
) -> Poisoning:
    """Blend the picture into ``m`` training images of other classes and label them ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws the noise, then which images are poisoned.
        m: number of poisoned images, at most the number outside the target class.
        target: class that the trigger leads to.
        mark: house, the same in every attack; or drawn once an attack: noise, or smooth colours.
        alpha: opacity of the picture.
        pipeline: pre_aug blends into the stored image, which training then shifts and mirrors;
            post_aug shifts and mirrors once, blends, and trains on the result as it is.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large.
    """
    channels, side = train.x.shape[1], train.x.shape[-1]
    noise = torch.randint(0, 256, (channels, side, side), generator=rng).to(torch.uint8)
    trigger = Patch(picture_of(mark, noise), 0, 0, alpha)
    places = chosen(train, m, rng, target, clean_label=False)

    def stamp(x: Tensor, index: Tensor, _: int) -> Tensor:
        return trigger(x, index)

    x = stored(train, places, rng, stamp, pipeline, "cifar10")
    poisoned = replaced(train, places, x, target)
    return poisoning(poisoned, places, trigger, target, boost, pipeline, "cifar10")
