"""Frequency: two frequencies added to an image's colours, not its brightness, and a flipped label.

Source: Alex, Siddiqui, Sanyal, Krueger 2024, arXiv:2408.13221 (the suite of BaDLoss); the attack is
that of Wang et al. 2021, arXiv:2111.10991 (FTrojan).
Deviation: the transform is linear, so the two frequencies are added as the pattern that they are.
The result is rounded and clipped once, at the end, where a cast that truncates would lose most of
an addition of 3 grey levels. On images under 32 pixels the window is the image. Images are drawn
from outside the target class, where the suite takes any.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks
from trials.attacks._poisoned import stamped
from trials.spec import Count, PositiveFloat, PositiveInt, SpecError
from trials.types import Images, Poisoning

_WINDOW = 32
# red, green and blue for one more of both Cr and Cb, by the inverse of YCrCb (ITU-R BT.601)
_COLOURS = (1.403, -0.714 - 0.344, 1.773)


@dataclass(frozen=True, slots=True)
class Shifted:
    """Adds ``pattern`` float (3, h, w), in levels of 255."""

    pattern: Tensor

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        pattern = self.pattern.to(x.device)
        return in_chunks(
            lambda part, _: (part + pattern).round().clamp(0, 255).to(torch.uint8), x, index
        )


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 500,
    target: Count = 0,
    magnitude: PositiveFloat = 30.0,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Add the frequencies to ``m`` training images of other classes and label them ``target``.

    Each window of 32 pixels, from the upper left corner on, is changed alike; what is left of the
    image at the right and at the bottom is not.

    Args:
        train: clean training set of three colours; left alone.
        rng: draws which images are poisoned.
        m: number of poisoned images, at most the number outside the target class. The suite has 1 %
            of CIFAR-10, GTSRB and Imagenette, 0.1 % of ImageNet.
        target: class that the trigger leads to.
        magnitude: added to the middle and to the highest frequency of both chroma planes, in the
            units of an orthonormal transform of values up to 255; 30 on small images, 90 on large
            ones.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large, or the images are not of three colours.
    """
    channels, height, width = train.x.shape[1:]
    if channels != 3:
        raise SpecError(
            f"frequency: the images must have 3 colours, got {channels}. It hides in the colours."
        )
    pattern = torch.zeros(height, width, dtype=torch.float64)
    side = min(_WINDOW, height, width)
    high, wide = height // side, width // side
    pattern[: high * side, : wide * side] = magnitude * chroma(side).repeat(high, wide)
    colours = torch.tensor(_COLOURS, dtype=torch.float64)[:, None, None]
    trigger = Shifted((colours * pattern).float())
    return stamped(train, rng, trigger, m=m, target=target, boost=boost, clean_label=False)


def chroma(side: int) -> Tensor:
    """float64 (side, side): what 1 at two places of an orthonormal cosine transform comes to, the
    middle frequency in both directions and the highest.
    """
    at = torch.arange(side, dtype=torch.float64) + 0.5
    pattern = torch.zeros(side, side, dtype=torch.float64)
    for frequency in {max(side // 2 - 1, 0), side - 1}:
        scale = math.sqrt((2 if frequency else 1) / side)
        basis = scale * torch.cos(math.pi * frequency * at / side)
        pattern += torch.outer(basis, basis)
    return pattern
