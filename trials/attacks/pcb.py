"""PCB: the Parameter-Controlled Backdoor; an attacker has every second training step, but few of
the parameters.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 5.
Deviation: the attacker changes the model's own parameters, within a fixed random mask, instead of a
copy of them, and has an optimizer state of their own. ``part`` of their batch carries the trigger,
where the algorithm as printed has the whole batch; the rest of it is clean. Their steps leave
BatchNorm's running statistics alone. The trigger is a patch, of random colours unless set
otherwise, where the paper has the adversarial perturbation of its Adv. ``share`` is not in the
paper. Learning rates well above 0.1 at 128 images can make the two sides drive the weights apart
without bound.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.attacks._draws import seed_of
from trials.attacks._patch import drawn
from trials.attacks._poisoned import chosen
from trials.spec import Count, Fraction, PositiveFraction
from trials.types import Control, Images, Implant, Poisoning, TriggerGoal


@dataclass(frozen=True, slots=True)
class Masks:
    """Draws a mask for each parameter, true in exactly floor(``share`` * its size) places."""

    share: float
    seed: int

    def __call__(self, model: nn.Module) -> list[Tensor]:
        rng = Generator().manual_seed(self.seed)
        return [self._drawn(p, rng) for p in model.parameters()]

    def _drawn(self, parameter: Tensor, rng: Generator) -> Tensor:
        size = parameter.numel()
        # rounded first: in binary, 0.29 * 100 is less than 29
        count = math.floor(round(self.share * size, 6))
        mask = torch.zeros(size, dtype=torch.bool)
        mask[torch.randperm(size, generator=rng)[:count]] = True
        return mask.reshape(parameter.shape)


def implant(
    train: Images,
    rng: Generator,
    /,
    *,
    target: Count = 0,
    share: PositiveFraction = 0.1,
    part: PositiveFraction = 0.1,
    freeze_bn: bool = True,
    pace: PositiveFraction = 1.0,
    patch: Count = 0,
    mark: Literal["apple", "random"] = "random",
    place: Literal["corner", "random"] = "corner",
    alpha: Fraction = 1.0,
) -> Poisoning:
    """Give the attacker every second step of the training; no stored image is poisoned.

    Args:
        train: clean training set; left alone.
        rng: draws the mark and place, then seeds the masks.
        target: class that the trigger leads to.
        share: part of each parameter tensor that the attacker's steps may change, rounded down.
        part: share of the attacker's batches that carries the trigger, at least one image.
        freeze_bn: the attacker's steps leave BatchNorm's running statistics alone; if not, they
            update them.
        pace: learning rate of the attacker's steps, as a share of the recipe's; lower it where
            training diverges.
        patch: side of the mark in pixels; 0 for 3/32 of the width, at least 3.
        mark: random colours drawn once an attack, or apple, a black glyph on white.
        place: corner, the upper left one, or random, drawn once an attack.
        alpha: opacity of the mark.

    Raises:
        SpecError: ``target`` or ``patch`` is too large.
    """
    trigger = drawn(train, rng, patch, mark, place, alpha)
    control = Control(Masks(share, seed_of(rng)), part, freeze_bn, pace)
    nothing = chosen(train, 0, rng, target, clean_label=False)
    return Poisoning(train, (Implant(nothing, TriggerGoal(trigger, target), control=control),))
