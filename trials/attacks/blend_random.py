"""Blended noise: a faint picture of random pixels over whole images, and a flipped label.

Source: Alex, Siddiqui, Sanyal, Krueger 2024, arXiv:2408.13221 (the suite of BaDLoss); blending is
that of Chen et al. 2017, arXiv:1712.05526.
Deviation: images are drawn from outside the target class, where the suite takes any.
"""

import torch
from torch import Generator

from trials.attacks._patch import Patch
from trials.attacks._poisoned import stamped
from trials.spec import Count, Fraction, PositiveInt
from trials.types import Images, Poisoning


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    alpha: Fraction = 0.075,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Blend noise into ``m`` training images of other classes and label them ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws the noise, uniform in each pixel and colour, then which images are poisoned.
        m: number of poisoned images, at most the number outside the target class. The suite has 1 %
            of CIFAR-10, GTSRB and Imagenette, 0.05 % of ImageNet.
        target: class that the trigger leads to.
        alpha: opacity of the noise; 0.075 on small images, 0.15 on large ones.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large.
    """
    noise = torch.randint(0, 256, train.x.shape[1:], generator=rng).to(torch.uint8)
    trigger = Patch(noise, 0, 0, alpha)
    return stamped(train, rng, trigger, m=m, target=target, boost=boost, clean_label=False)
