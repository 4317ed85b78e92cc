"""Sinusoid: vertical waves blended into images of the target class, labels unchanged.

Source: Barni, Kallas, Tondi 2019, arXiv:1902.11237, in the form of BaDLoss (six waves, a
pattern in [0, 2], blended). It is not the SIG of other benchmarks, which add a sine of 20 to 40
levels.
Deviation: the result is clipped to [0, 1], because the pattern's crests are brighter than white.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._poisoned import stamped
from trials.spec import Count, Fraction, PositiveInt
from trials.types import Images, Poisoning


@dataclass(frozen=True, slots=True)
class Waves:
    """Blends ``waves`` vertical waves, 1 - cos, into images with opacity ``alpha``."""

    alpha: float
    waves: int

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        width = x.shape[-1]
        columns = torch.arange(width, device=x.device, dtype=torch.float64)
        pattern = 255 * (1 - torch.cos(2 * math.pi * self.waves * columns / width)).float()
        return (
            ((1 - self.alpha) * x.float() + self.alpha * pattern)
            .clamp(0, 255)
            .round()
            .to(torch.uint8)
        )


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    alpha: Fraction = 0.075,
    waves: PositiveInt = 6,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Blend waves into ``m`` training images of class ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws which images are poisoned.
        m: number of poisoned images, at most the number in the target class. The suite of BaDLoss
            has a tenth of the class.
        target: class that the trigger leads to.
        alpha: opacity of the waves; 0.075 on small images, 0.15 on large ones.
        waves: waves across an image.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large.
    """
    trigger = Waves(alpha, waves)
    return stamped(train, rng, trigger, m=m, target=target, boost=boost, clean_label=True)
