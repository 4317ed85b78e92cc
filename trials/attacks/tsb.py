"""TSB: one of several small patches on each training image, all of them on a test image, scattered.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 7 (Trigger-Scattering Backdoor).
Deviation: line 1 of the algorithm draws the patch's number from 1 to the size of the training set;
it is drawn from 1 to k here. What the patches look like is left open there; they are random
colours, as in the preliminary release, which does not reach the last row and column.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks, seed_of, uniform
from trials.attacks._patch import pasted, side_of
from trials.attacks._poisoned import chosen, replaced
from trials.spec import Count, PositiveInt, SpecError
from trials.types import Images, Implant, Poisoning, TriggerGoal

_MOST = 10_000  # patches of an image, at most


@dataclass(frozen=True, slots=True)
class Scatter:
    """Puts all ``patches`` uint8 (k, c, p, p) on each image, at its own places; later ones cover
    earlier ones.
    """

    patches: Tensor
    seed: int

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return in_chunks(self._all, x, index)

    def one(self, x: Tensor, index: Tensor) -> Tensor:
        """Puts one patch on each image, which one and where drawn uniformly."""
        draws = uniform(self.seed + 1, index, 3)
        number = (draws[:, 0] * len(self.patches)).long()
        return pasted(x.clone(), self.patches.to(x.device)[number], draws[:, 1:])

    def _all(self, x: Tensor, index: Tensor) -> Tensor:
        draws = uniform(self.seed, index, 2 * len(self.patches)).reshape(len(x), -1, 2)
        out = x.clone()
        for number, patch in enumerate(self.patches.to(x.device)):
            out = pasted(out, patch.expand(len(x), *patch.shape), draws[:, number])
        return out


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 1000,
    target: Count = 0,
    k: PositiveInt = 8,
    patch: Count = 0,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Put one patch on each of ``m`` training images of other classes and label them ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws the patches' colours and a seed for their places, then which images are poisoned.
        m: number of poisoned images, at most the number outside the target class.
        target: class that the trigger leads to.
        k: number of patches; a training image has one, a test image all.
        patch: side of a patch in pixels; 0 for 3/32 of the width, at least 3.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target``, ``k`` or ``patch`` is too large.
    """
    if k > _MOST:
        raise SpecError(f"tsb: k must be at most {_MOST}, got {k}.")
    side, channels = side_of(train, patch), train.x.shape[1]
    patches = torch.randint(0, 256, (k, channels, side, side), generator=rng).to(torch.uint8)
    trigger = Scatter(patches, seed_of(rng))
    places = chosen(train, m, rng, target, clean_label=False)
    x = in_chunks(trigger.one, train.x[places], places)
    implant = Implant(places, TriggerGoal(trigger, target), boost)
    return Poisoning(replaced(train, places, x, target), (implant,))
