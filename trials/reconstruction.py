"""A trigger reconstructed from the given model, without knowing the attack.

What a repair leaves of it is measured on the very model that is to be repaired, while a copy tells
only of a backdoor that its owner planted.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P: a mask and a pattern for every class, and the
class whose mask is unusually small.
Deviation: few steps, as only the smallest mask is used; and it is used to measure repairs, not to
unlearn it. How suspicious it is is its size as a share of the classes' median: of ten classes the
median deviation, by which the paper divides, is unstable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from trials.mask_inversion import invert_masks
from trials.train import to_float
from trials.types import Images, TriggerGoal
from trials.views import Keep

STEPS, LR, BATCH = 150, 0.1, 16
FIRST_WEIGHT, THRESHOLD, PATIENCE, ROUND_STEPS = 0.001, 0.95, 3, 10


@dataclass(frozen=True, slots=True)
class Reconstructed:
    """The reconstructed trigger of the most suspicious class.

    Attributes:
        mask: float (1, h, w), how much of the pattern each pixel shows.
        pattern: float (c, h, w), in [0, 1].
        target: the class.
        share: size of its mask as a share of the median over the classes; the smaller, the more
            suspicious.
    """

    mask: Tensor
    pattern: Tensor
    target: int
    share: float

    @property
    def goal(self) -> TriggerGoal:
        """The trigger, for uint8 images, and the class."""

        def trigger(x: Tensor, _: Tensor) -> Tensor:
            mask, pattern = self.mask.to(x.device), self.pattern.to(x.device)
            stamped = torch.lerp(to_float(x), pattern, mask)
            return (stamped * 255).round().clamp(0, 255).to(torch.uint8)

        return TriggerGoal(trigger, self.target)


def reconstruct(model: nn.Module, images: Images, rng: Generator) -> Reconstructed:
    """The trigger of the class with the smallest mask; the model is left alone.

    Args:
        model: the given model.
        images: trusted ones, on the model's device.
        rng: draws first masks and images.

    Raises:
        SpecError: a class has no images of other classes.
    """
    found = invert_masks(
        model,
        images,
        rng,
        steps=STEPS,
        lr=LR,
        batch=BATCH,
        first_weight=FIRST_WEIGHT,
        threshold=THRESHOLD,
        patience=PATIENCE,
        round_steps=ROUND_STEPS,
    )
    sizes = found.masks.sum((1, 2, 3))
    target = int(sizes.argmin())
    share = float(sizes[target] / sizes.median())
    return Reconstructed(found.masks[target].cpu(), found.patterns[target].cpu(), target, share)


def kept(keep: Keep, make: Callable[[], Reconstructed]) -> Reconstructed:
    """The trigger, kept for all processes that share the artifacts."""

    def made() -> dict[str, Tensor]:
        found = make()
        facts = torch.tensor([found.target, found.share], dtype=torch.float64)
        return {"mask": found.mask, "pattern": found.pattern, "facts": facts}

    settings = (STEPS, LR, BATCH, FIRST_WEIGHT, THRESHOLD, PATIENCE, ROUND_STEPS)
    tensors = keep(f"reconstructed trigger {settings}", made)
    target, share = tensors["facts"].tolist()
    return Reconstructed(tensors["mask"], tensors["pattern"], int(target), share)
