"""A-Blend: parts of a faint picture over training images, half of which keep their label; all of it
at test time.

Source: Qi et al. 2023, arXiv:2205.13613 (Adaptive-Blend), with the opacity, grid and conservatism
ratio of Lukas & Kerschbaum 2023, arXiv:2305.09671, section A-B.
Deviation: the picture is drawn here, coloured waves or noise from the seed, where the authors
blend a cartoon. The number of images that keep their label is exact, also in the pipeline of the
preliminary release of Lukas & Kerschbaum, which draws it by coin. Qi et al. hide exactly half of
the cells (``law`` = exact) and blend more strongly at test time than in training.
"""

from typing import Literal

import torch
from torch import Generator

from trials.attacks._adaptive import adapt
from trials.attacks._patch import Patch
from trials.attacks._pictures import picture_of
from trials.spec import Count, Fraction, PositiveInt
from trials.types import Images, Poisoning


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 50,
    target: Count = 0,
    mark: Literal["waves", "noise", "smooth"] = "waves",
    alpha: Fraction = 0.3,
    cells: PositiveInt = 4,
    occlusion: Fraction = 0.5,
    law: Literal["coin", "exact"] = "coin",
    conservatism: Fraction = 0.5,
    pipeline: Literal["pre_aug", "post_aug", "release"] = "pre_aug",
    norm: Literal["cifar10", "imagenet", "half"] = "cifar10",
    boost: PositiveInt = 1,
) -> Poisoning:
    """Blend parts of the picture into ``m`` training images of other classes and label some of them
    ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws the noise, a seed for the hidden cells, then which images are poisoned.
        m: number of poisoned images, those that keep their label among them; at most the number
            outside the target class.
        target: class that the trigger leads to.
        mark: waves, the same in every attack; or drawn once an attack: noise, or smooth colours.
        alpha: opacity of the picture.
        cells: cells along each side of the picture.
        occlusion: share of the cells that a training image hides.
        law: coin hides each cell with this chance, exact hides this share of each image's cells,
            rounded.
        conservatism: share of the ``m`` images that keep their true label, rounded down.
        pipeline: pre_aug stamps the stored image, which training then shifts and mirrors; post_aug
            shifts and mirrors once, stamps, and trains on the result as it is; release does so too,
            but stamps twice, each time with other cells hidden, and then, on test images as well,
            makes pixels that reach the layers after the normalisation as if there were none. With
            ``alpha`` 0 that alone is left.
        norm: constants of the model's normalisation; used by release only.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large.
    """
    channels, side = train.x.shape[1], train.x.shape[-1]
    noise = torch.randint(0, 256, (channels, side, side), generator=rng).to(torch.uint8)
    return adapt(
        train,
        rng,
        Patch(picture_of(mark, noise), 0, 0, alpha),
        m=m,
        target=target,
        conservatism=conservatism,
        cells=cells,
        occlusion=occlusion,
        law=law,
        boost=boost,
        pipeline=pipeline,
        norm=norm,
    )
