"""Neural mask fine-tuning: masks on the normalisations' scales, learnt on mixed images, stay in the
model.

Source: Karim et al. 2024, 'Augmented Neural Fine-Tuning for Efficient Backdoor Purification',
arXiv:2407.10052.
Deviation: the learning rate falls to 0 instead of 0.02 of 0.05, as elsewhere here. Masks are on the
scales of whatever normalises, not of batch normalisation alone, and the running statistics go on to
follow the masked model.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.defenses._descent import descend
from trials.defenses._start import fits, start
from trials.defenses._units import scaled
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.types import DefenderView

FAMILY = "pruning"
NEEDS = frozenset({"scales"})

_DEEPER = 0.5  # the floor falls by exp(-0.5) from one normalisation to the next


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 1000,
    lr: PositiveFloat = 0.05,
    batch: PositiveInt = 128,
    sparsity: NonNegativeFloat = 0.001,
    floor: Fraction = 0.8,
    schedule: Literal["constant", "cosine"] = "cosine",
) -> Iterator[tuple[int, nn.Module]]:
    """Learn a mask a channel that lowers the cross-entropy on mixtures of two trusted images.

    Args:
        steps: optimizer steps on the masks (SGD, momentum 0.95).
        lr: learning rate of the first step.
        batch: images a step.
        sparsity: weight of the sum of 1 - mask, over the number of trusted images a class.
        floor: least mask of the first normalisation; that of each further one is lower by a factor
            of exp(-0.5).
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.

    Raises:
        SpecError: the model has no normalisation with scales.
    """
    fits("nft", view, NEEDS)
    model, batches = start(view, rng, batch)
    masked = Masked(model.requires_grad_(False), Classifier(model).scales(), floor)
    tuner = torch.optim.SGD(masked.masks, lr, momentum=0.95, foreach=True)
    weight = sparsity / max(1.0, len(view.trusted) / view.trusted.classes)

    def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mixed, other, share = mixture(x, y, rng)
        logits = masked(mixed)
        apart = share * F.cross_entropy(logits, y) + (1 - share) * F.cross_entropy(logits, other)
        return apart + weight * torch.stack([(1 - m).sum() for m in masked.masks]).sum()

    yield from descend(
        model, batches, tuner, steps, every, loss, schedule=schedule, after=masked.settle
    )


def mixture(x: Tensor, y: Tensor, rng: Generator) -> tuple[Tensor, Tensor, float]:
    """Each image mixed with another of the batch, that one's label, and the share of its own, drawn
    evenly from [0, 1] for the batch.

    Source: Zhang et al. 2018, 'mixup: Beyond Empirical Risk Minimization', arXiv:1710.09412, with
    Beta(1, 1).
    """
    share = float(torch.rand((), generator=rng))
    other = torch.randperm(len(x), generator=rng).to(x.device)
    return share * x + (1 - share) * x[other], y[other], share


class Masked:
    """A model whose normalisations' scales are multiplied by masks of 1 at first.

    Args:
        model: changed by ``settle`` alone; its parameters take no gradients.
        norms: its normalisations, in order.
        floor: least mask of the first one.
    """

    def __init__(self, model: nn.Module, norms: Sequence[nn.Module], floor: float) -> None:
        names = {m: name for name, m in model.named_modules()}
        self._model, self._norms = model, norms
        self._keys = [f"{names[n]}.weight" for n in norms]
        self._given = [scaled(n)[0].detach().clone() for n in norms]
        self.floors = [floor * math.exp(-_DEEPER * i) for i in range(len(norms))]
        self.masks = [torch.ones_like(s, requires_grad=True) for s in self._given]

    def __call__(self, x: Tensor) -> Tensor:
        pairs = zip(self._given, self.masks, strict=True)
        scales = [given * mask for given, mask in pairs]
        weights = dict(zip(self._keys, scales, strict=True))
        logits: Tensor = torch.func.functional_call(self._model, weights, (x,))
        return logits

    @torch.no_grad()
    def settle(self, _: nn.Module) -> None:
        """Bring the masks back between floor and 1, and the model's scales to them."""
        rows = zip(self.masks, self.floors, self._norms, self._given, strict=True)
        for mask, low, norm, given in rows:
            mask.clamp_(low, 1)
            scaled(norm)[0].copy_(given * mask)
