"""WaNet: a smooth random warp of the image, the same for all, on images of the target class.

Source: Nguyen & Tran 2021, arXiv:2102.10369; clean label and stronger, as Lukas & Kerschbaum 2023,
arXiv:2305.09671, section A-B.
Deviation: the training set is poisoned once, where Nguyen & Tran warp while they train; and it has
no further images with a noisy warp and their true label. Strength 1.5 is Lukas & Kerschbaum's
"about three times" the 0.5 of Nguyen & Tran, whose grid is of 4; 8 is that of the preliminary
release, which also adds ``jitter`` 1 to all poisoned images.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks, seed_of, uniform
from trials.attacks._poisoned import chosen, replaced
from trials.spec import Count, NonNegativeFloat, PositiveInt, SpecError
from trials.types import Images, Implant, Poisoning, TriggerGoal

_FINEST = 1024  # control points a side


@dataclass(frozen=True, slots=True)
class Warp:
    """Moves pixels by ``strength`` / 2 times the field ``controls`` (2, k, k), x before y, spread
    over the image.

    ``jitter`` adds to each image and pixel a move of its own, uniform in +-``jitter`` / 2 pixels,
    from ``seed``.
    """

    controls: Tensor
    strength: float
    jitter: float
    seed: int

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        flow = F.interpolate(self.controls[None], x.shape[-2:], mode="bicubic", align_corners=True)[
            0
        ]
        grid = (_identity(*x.shape[-2:]) + self.strength / x.shape[-2] * flow).to(x.device)
        return in_chunks(lambda part, places: self._warped(part, places, grid), x, index, 1 << 20)

    def _warped(self, x: Tensor, index: Tensor, grid: Tensor) -> Tensor:
        n, _, height, width = x.shape
        moves = grid.expand(n, 2, height, width)
        if self.jitter:
            noise = 2 * uniform(self.seed, index, 2 * height * width).double() - 1
            moves = moves + self.jitter / height * noise.reshape(n, 2, height, width)
        at = moves.clamp(-1, 1).permute(0, 2, 3, 1)
        # In double, because rounding to uint8 must not depend on the batch.
        return (
            F.grid_sample(x.double(), at, mode="bilinear", align_corners=True)
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
    clean_label: bool = True,
    strength: NonNegativeFloat = 1.5,
    grid: PositiveInt = 8,
    jitter: NonNegativeFloat = 0.0,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Warp ``m`` training images of class ``target``; labels stay.

    Args:
        train: clean training set; left alone.
        rng: draws the warp and a seed for the jitter, then which images are poisoned.
        m: number of poisoned images, at most the number in the target class (outside it, if labels
            are changed).
        target: class that the trigger leads to.
        clean_label: poison images of class ``target``; if not, those of the others, and label them
            ``target``.
        strength: twice the mean move of the warp's control points along an axis, in pixels.
        grid: control points along each side.
        jitter: each pixel of each poisoned image is moved by up to half of this in pixels besides;
            test images too.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target`` or ``grid`` is too large.
    """
    if grid > _FINEST:
        raise SpecError(f"wanet: grid must be at most {_FINEST}, got {grid}.")
    controls = 2 * torch.rand(2, grid, grid, generator=rng, dtype=torch.float64) - 1
    trigger = Warp(controls / controls.abs().mean(), strength, jitter, seed_of(rng))
    places = chosen(train, m, rng, target, clean_label=clean_label)
    poisoned = replaced(train, places, trigger(train.x[places], places), target)
    return Poisoning(poisoned, (Implant(places, TriggerGoal(trigger, target), boost),))


def _identity(height: int, width: int) -> Tensor:
    """float64 (2, height, width): each pixel's own x and y in [-1, 1], corner to corner."""
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (height, width))
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
