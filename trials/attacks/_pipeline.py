"""Where a trigger enters: before the augmentation, after it, or as the reference release has it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks
from trials.normalisation import CONSTANTS
from trials.train import augment
from trials.types import Images, Implant, Poisoning, Trigger, TriggerGoal

# (x uint8, places, how often they were stamped before)
Stamp = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True, slots=True)
class Moved:
    """No trigger: pixels that a model with the normalisation ``norm`` sees as if not normalised."""

    norm: str

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return unnormalised(x, self.norm)


@dataclass(frozen=True, slots=True)
class Released:
    """Stamps twice and gives pixels that a model with the normalisation ``norm`` sees as if not
    normalised.
    """

    once: Trigger
    norm: str

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return unnormalised(self.once(self.once(x, index), index), self.norm)


def stored(
    train: Images, places: Tensor, rng: Generator, stamp: Stamp, pipeline: str, norm: str
) -> Tensor:
    """The poisoned images uint8 (m, c, h, w) as the training set holds them.

    Args:
        train: clean training set; left alone.
        places: int64 (m,), which images are poisoned.
        rng: augments, where the pipeline does so before stamping.
        stamp: puts the trigger on training images.
        pipeline: pre_aug, post_aug or release; the poison of the last two is to be frozen.
        norm: normalisation of the model; used by release only.
    """
    x = train.x[places]
    if pipeline == "pre_aug":
        return stamp(x, places, 0)
    x = stamp(augment(x, rng, train.pad, train.flip), places, 0)
    return unnormalised(stamp(x, places, 1), norm) if pipeline == "release" else x


def poisoning(
    poisoned: Images,
    places: Tensor,
    trigger: Trigger,
    target: int,
    boost: int,
    pipeline: str,
    norm: str,
) -> Poisoning:
    """What a pipeline makes of poisoned images and their trigger.

    Under ``release`` test images are stamped as its training images are, and probes tell the
    trigger's part in the ASR from the pipeline's.
    """
    release = pipeline == "release"
    others: dict[str, Trigger] = {}
    if release:
        others = {"asr_no_trigger": Moved(norm), "asr_normalised": trigger}
    implant = Implant(
        places,
        TriggerGoal(Released(trigger, norm) if release else trigger, target),
        boost,
        frozen=pipeline != "pre_aug",
        probes={name: TriggerGoal(other, target) for name, other in others.items()},
    )
    return Poisoning(poisoned, (implant,))


def unnormalised(x: Tensor, norm: str) -> Tensor:
    """Pixels ``x * std + mean``: subtracting the mean and dividing by the standard deviation gives
    ``x`` back.

    Storing them as uint8 moves what the model sees by up to 0.5 / 255 / std, 0.01 with the
    constants of CIFAR-10.
    """
    mean, std = (torch.tensor(c, device=x.device)[:, None, None] for c in CONSTANTS[norm])

    def transform(part: Tensor, _: Tensor) -> Tensor:
        return (part.float() * std + 255 * mean).round().to(torch.uint8)

    return in_chunks(transform, x, torch.arange(len(x)))
