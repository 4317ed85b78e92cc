"""Refool: the image's own ghost, a second copy of it beside the first, on images of the target
class.

Source: Liu, Ma, Bailey, Lu 2020, arXiv:2007.02343; ghosting after Pang et al. 2020,
arXiv:2012.09302 (TrojanZoo), with the intensity of Lukas & Kerschbaum 2023, arXiv:2305.09671,
section A-B.
Deviation: nothing else is reflected. Liu et al. blend in other pictures, which they choose by their
success; the ghosting of TrojanZoo reflects the image itself, and at the full intensity that Lukas &
Kerschbaum use nothing but the double image is left.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks
from trials.attacks._poisoned import chosen, replaced
from trials.spec import Count, Fraction, PositiveInt, SpecError
from trials.types import Images, Implant, Poisoning, TriggerGoal

_GAMMA = 2.2  # light is added up before it becomes pixels


@dataclass(frozen=True, slots=True)
class Ghost:
    """Two copies of the image ``offset`` pixels apart, the first of weight ``first``, mixed into it
    by ``alpha``.
    """

    offset: int
    first: float
    alpha: float

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return in_chunks(lambda part, _: self._ghosted(part), x, index)

    def _ghosted(self, x: Tensor) -> Tensor:
        # double: rounding to uint8 must not depend on the batch
        light = (x.double() / 255) ** _GAMMA
        by, size = self.offset, x.shape[-2:]
        both = self.first * F.pad(light, (0, by, 0, by)) + (1 - self.first) * F.pad(
            light, (by, 0, by, 0)
        )
        inner = both[:, :, by : size[0], by : size[1]]
        # Bicubic resizing overshoots, and a negative number has no root.
        ghost = F.interpolate(inner, size, mode="bicubic", align_corners=False).clamp(0, 1)
        mixed = self.alpha * ghost + (1 - self.alpha) * light
        return (mixed ** (1 / _GAMMA) * 255).round().to(torch.uint8)


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    clean_label: bool = True,
    alpha: Fraction = 1.0,
    offset: Count = 0,
    first: Fraction = 0.5,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Ghost ``m`` training images of class ``target``; labels stay.

    Args:
        train: clean training set; left alone.
        rng: draws which images are poisoned.
        m: number of poisoned images, at most the number in the target class (outside it, if labels
            are changed).
        target: class that the trigger leads to.
        clean_label: poison images of class ``target``; if not, those of the others, and label them
            ``target``.
        alpha: intensity of the ghost; at 1 nothing else is left, at 0 the image stays as it is.
        offset: pixels between the copies, to the right and down; 0 for 3/32 of the width, at least
            1.
        first: weight of the upper left copy, the other has the rest.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target`` or ``offset`` is too large.
    """
    height, width = train.x.shape[2:]
    by = offset or max(1, 3 * width // 32)
    if by >= min(height, width):
        raise SpecError(
            f"offset must be less than the images' side of {min(height, width)} pixels, got "
            f"{offset}."
        )
    trigger = Ghost(by, first, alpha)
    places = chosen(train, m, rng, target, clean_label=clean_label)
    poisoned = replaced(train, places, trigger(train.x[places], places), target)
    return Poisoning(poisoned, (Implant(places, TriggerGoal(trigger, target), boost),))
