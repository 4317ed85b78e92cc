"""What those besides the defender may see: an attacker who crafts poison, and a data filter.

The threat model is these types, as ``trials.types.DefenderView`` is the defender's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from trials.types import Images, Poisoning

# trains a model on a training set, as the victim will be trained
Fit = Callable[[nn.Module, Poisoning, Generator], nn.Module]
# what a name stands for, made by the function if it was not made before; the name has to say all
# settings that decide it, and the function draws from a generator of its own, as it is not called
# where the tensors are there
Keep = Callable[[str, Callable[[], Mapping[str, Tensor]]], Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class AttackerView:
    """All that an attacker may see who crafts poison against a model of their own.

    Attributes:
        train: the clean training set.
        targets: loads the test images that a triggerless attack may choose its targets from.
        fresh: an untrained model for the classes of ``train``, its weights drawn from a seed; of
            the architecture that the attack's setting ``arch`` names, or else of the victim's.
        fit: trains a surrogate; an untrained model, a training set and a generator in, the trained
            model out.
        keep: gives named tensors, made by the function at the first call and read from the
            artifacts at every later one, in any process: crafting is made once.
    """

    train: Images
    targets: Callable[[], Images]
    fresh: Callable[[int], nn.Module]
    fit: Fit
    keep: Keep


@dataclass(frozen=True, slots=True)
class DataView:
    """All that a data filter may see: the untrusted training set and the trusted images, and what
    can be made of these, nothing more.

    Attributes:
        train: the rows of the training set that are not trusted, as the attackers left them; which
            of them are poisoned is not said.
        trusted: clean images with right labels, none of them in ``train``.
        fresh: an untrained model of the victim's architecture, its weights drawn from a seed.
        fit: trains a model on images of the filter's choice, by the victim's recipe.
        trained: loads the model that was trained on all rows before any was removed.
        keep: gives named tensors, made by the function at the first call and read from the
            artifacts at every later one, in any process and by any filter with the same victim,
            trusted images and seed: so one tracking serves every threshold.
    """

    train: Images
    trusted: Images
    fresh: Callable[[int], nn.Module]
    fit: Fit
    trained: Callable[[], nn.Module]
    keep: Keep


@dataclass(frozen=True, slots=True)
class SampleScores:
    """What a data filter says of the training images.

    Attributes:
        scores: float (n,), one for each image of ``DataView.train``; higher is more suspicious.
        suspects: bool (n,), the images that the filter itself would remove; None for a filter
            without such a rule.
        extra: other numbers of the method.
        losses: float (n, epochs), each image's loss after each epoch of a training that the filter
            tracked; None for a filter that tracks none.

    Raises:
        ValueError: the scores are no vector, or ``suspects`` or ``losses`` are of other images.
        ArithmeticError: a score is not finite, so that the images have no order.
    """

    scores: Tensor
    suspects: Tensor | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    losses: Tensor | None = None

    def __post_init__(self) -> None:
        if self.scores.ndim != 1:
            raise ValueError(f"scores must be a vector, got the shape {tuple(self.scores.shape)}")
        if self.suspects is not None and self.suspects.shape != self.scores.shape:
            raise ValueError(
                f"suspects must be as the scores, {tuple(self.scores.shape)}, got the shape "
                f"{tuple(self.suspects.shape)}"
            )
        if self.losses is not None and self.losses.shape[:-1] != self.scores.shape:
            raise ValueError(
                f"losses must be a row for each of {len(self.scores)} scores, got the shape "
                f"{tuple(self.losses.shape)}"
            )
        if not torch.isfinite(self.scores).all():
            raise ArithmeticError("the filter diverged: a score is not finite")
