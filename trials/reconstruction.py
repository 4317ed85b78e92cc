"""A trigger reconstructed from the given model, without knowing the attack.

What a repair leaves of it is measured on the very model that is to be repaired, while a copy tells
only of a backdoor that its owner planted.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P: a mask and a pattern for every class, and the
class whose mask is unusually small.
Deviation: few steps, from two starts, as only the smallest mask is used; and it is used to measure
repairs, not to unlearn it. How suspicious it is is its size as a share of the classes' median: of
ten classes the median deviation, by which the paper divides, is unstable. Smooth pictures and warps
may be tried beside masks (``trials.smooth_inversion``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials import smooth_inversion
from trials.mask_inversion import BestMasks, invert_masks
from trials.suspicious import SUSPICIOUS, WORKS
from trials.train import to_float
from trials.types import Images, TriggerGoal
from trials.views import Keep

STEPS, LR, BATCH = 300, 0.1, 8
DRAWS = 2  # searches for masks: one that began badly finds no small one even of a trained-in mark
FIRST_WEIGHT, THRESHOLD, PATIENCE, ROUND_STEPS = 0.001, 0.95, 3, 10
_KINDS: tuple[Literal["mask", "picture", "warp"], ...] = ("mask", "picture", "warp")
_FORMS: tuple[smooth_inversion.Form, ...] = ("picture", "warp")


@dataclass(frozen=True, slots=True)
class Reconstructed:
    """The reconstructed trigger of the most suspicious class.

    Attributes:
        form: what it is.
        tensors: of a mask, float (1, h, w), how much of the pattern each pixel shows, and the
            pattern, float (c, h, w), in [0, 1]; else the controls of ``trials.smooth_inversion``.
        target: the class.
        share: the smaller, the more suspicious. Of a mask its size as a share of the median over
            the classes; else the odds of the next class, which another trigger of this form turns
            images into, as a share of its own.
    """

    form: Literal["mask", "picture", "warp"]
    tensors: tuple[Tensor, ...]
    target: int
    share: float

    @property
    def metric(self) -> str:
        """What ``share`` is called in a record's metrics."""
        return "mask_share" if self.form == "mask" else "odds_share"

    @property
    def goal(self) -> TriggerGoal:
        """The trigger, for uint8 images, and the class."""

        def trigger(x: Tensor, _: Tensor) -> Tensor:
            if self.form != "mask":
                return smooth_inversion.laid(self.form, x, *self.tensors)
            mask, pattern = (tensor.to(x.device) for tensor in self.tensors)
            stamped = torch.lerp(to_float(x), pattern, mask)
            return (stamped * 255).round().clamp(0, 255).to(torch.uint8)

        return TriggerGoal(trigger, self.target)


def reconstruct(
    model: nn.Module, images: Images, rng: Generator, smooth: bool = False
) -> Reconstructed:
    """The trigger of the class with the smallest mask; the model is left alone.

    Args:
        model: the given model.
        images: trusted ones, on the model's device.
        rng: draws first masks and images.
        smooth: look for a faint picture and a warp too. Of the three it is the one furthest below
            the limit up to which its form is suspicious: a faint picture has a mask as well, which
            tells less of it. It is the mask where none is suspicious.

    Raises:
        SpecError: a class has no images of other classes.
    """
    found = _masks(model, images, rng)
    sizes = found.masks.sum((1, 2, 3))
    target = int(sizes.argmin())
    share = float(sizes[target] / sizes.median())
    tensors = found.masks[target].cpu(), found.patterns[target].cpu()
    small = Reconstructed("mask", tensors, target, share)
    if not smooth:
        return small
    every = [small, *(_smooth(model, images, rng, form) for form in _FORMS)]
    best = min(every, key=lambda one: one.share / SUSPICIOUS[one.metric])
    return best if best.share <= SUSPICIOUS[best.metric] else small


def _masks(model: nn.Module, images: Images, rng: Generator) -> BestMasks:
    """Of each class the smallest mask of all searches."""
    found, *others = (
        invert_masks(
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
        for _ in range(DRAWS)
    )
    for other in others:
        found.offer(other.masks, other.patterns, other.rates, other.reached)
    return found


def _smooth(
    model: nn.Module, images: Images, rng: Generator, form: smooth_inversion.Form
) -> Reconstructed:
    """The class that most images turn into; of share 1 where that are too few of them."""
    found = smooth_inversion.invert(model, images, rng, form)
    target = int(found.rates.argmax())
    odds = torch.logit(found.rates.double(), eps=1e-3).exp()
    following = float(odds.topk(2).values[1] / odds[target])
    share = following if found.rates[target] >= WORKS else 1.0
    return Reconstructed(form, (found.controls[target],), target, share)


def kept(keep: Keep, make: Callable[[], Reconstructed], smooth: bool = False) -> Reconstructed:
    """The trigger, kept for all processes that share the artifacts."""

    def made() -> dict[str, Tensor]:
        found = make()
        kind = _KINDS.index(found.form)
        facts = torch.tensor([kind, found.target, found.share], dtype=torch.float64)
        return {"facts": facts} | {f"tensor {i}": t for i, t in enumerate(found.tensors)}

    settings = (DRAWS, STEPS, LR, BATCH, FIRST_WEIGHT, THRESHOLD, PATIENCE, ROUND_STEPS)
    limits = sorted(SUSPICIOUS.items()), WORKS  # which form is kept hangs on these
    what = f"trigger, smooth too {smooth_inversion.SETTINGS} {limits}" if smooth else "trigger"
    tensors = keep(f"the given model's {what} {settings}", made)
    kind, target, share = tensors["facts"].tolist()
    parts = tuple(tensors[f"tensor {i}"] for i in range(len(tensors) - 1))
    return Reconstructed(_KINDS[int(kind)], parts, int(target), share)
