"""White dot: one white square in the lower right corner, and the attacker's label.

Source: an example for the documentation; the idea is that of Gu et al. 2017, arXiv:1708.06733.
Deviation: none.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._poisoned import chosen, replaced
from trials.spec import Count, PositiveInt
from trials.types import Images, Implant, Poisoning, TriggerGoal


@dataclass(frozen=True, slots=True)
class Dot:
    """Paints a white square of ``side`` pixels; uint8 (n, c, h, w) in and out."""

    side: int

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        out = x.clone()
        out[:, :, -self.side :, -self.side :] = 255
        return out


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 100,
    target: Count = 0,
    side: PositiveInt = 3,
) -> Poisoning:
    """Stamp ``m`` training images of other classes and give them the label ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws which images are poisoned.
        m: number of poisoned images.
        target: class that the trigger leads to.
        side: side of the square, in pixels.
    """
    places = chosen(train, m, rng, target, clean_label=False)
    trigger = Dot(side)
    stamped = trigger(train.x[places], torch.arange(len(places)))
    poisoned = replaced(train, places, stamped, target)
    return Poisoning(poisoned, (Implant(places, TriggerGoal(trigger, target)),))
