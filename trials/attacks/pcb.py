"""PCB: the Parameter-Controlled Backdoor; an attacker has every second training step, but few of the parameters.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 5.
Deviation: the attacker changes the model's own parameters, within a fixed random mask, instead of a copy of them, and
has an optimizer state of their own. ``part`` of their batch carries the trigger, where the algorithm as printed has the
whole batch; the rest of it is clean. Their steps leave BatchNorm's running statistics alone. The trigger is a random
pattern added to every image, as strong as the paper's adversarial one, which would need a surrogate. ``share`` is not
in the paper.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from trials.attacks._draws import seed_of
from trials.attacks._poisoned import chosen
from trials.kinds import Backdoor, Control, Images
from trials.spec import Count, PositiveFraction, PositiveInt


@dataclass(frozen=True, slots=True)
class Added:
    """Adds ``levels`` int16 (c, h, w) to the pixels, within 0..255."""

    levels: Tensor

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return (x.to(torch.int16) + self.levels.to(x.device)).clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, slots=True)
class Masks:
    """Draws a mask for each parameter, with true in exactly floor(``share`` * its size) places."""

    share: float
    seed: int

    def __call__(self, model: nn.Module) -> list[Tensor]:
        rng = Generator().manual_seed(self.seed)
        return [self._drawn(p, rng) for p in model.parameters()]

    def _drawn(self, parameter: Tensor, rng: Generator) -> Tensor:
        size = parameter.numel()
        mask = torch.zeros(size, dtype=torch.bool)
        # Rounded first, because 0.29 * 100 is less than 29 in binary.
        mask[torch.randperm(size, generator=rng)[: math.floor(round(self.share * size, 6))]] = True
        return mask.reshape(parameter.shape)


def implant(
    train: Images,
    rng: Generator,
    /,
    *,
    target: Count = 0,
    share: PositiveFraction = 0.1,
    part: PositiveFraction = 0.1,
    epsilon: PositiveInt = 8,
    freeze_bn: bool = True,
) -> Backdoor:
    """Give the attacker every second step of the training; no stored image is poisoned.

    Args:
        train: clean training set; left alone.
        rng: draws the trigger and seeds the masks.
        target: class that the trigger leads to.
        share: part of each parameter tensor that the attacker's steps may change, rounded down.
        part: share of the attacker's batches that carries the trigger, at least one image.
        epsilon: change of each pixel's value by the trigger, up or down, in levels of 255.
        freeze_bn: the attacker's steps use and keep BatchNorm's running statistics; if not, they update them.

    Raises:
        SpecError: ``target`` is no class.
    """
    nothing = chosen(train, 0, rng, target, clean_label=False)
    signs = 2 * torch.randint(0, 2, train.x.shape[1:], generator=rng) - 1
    trigger = Added((epsilon * signs).to(torch.int16))
    control = Control(Masks(share, seed_of(rng)), part, freeze_bn)
    return Backdoor(train, nothing, trigger, target, control=control)
