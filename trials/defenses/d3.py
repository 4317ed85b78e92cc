"""Distance-driven detoxification: a classifier as far from the given one as the loss on clean
images allows.

Source: Wei et al. 2025, 'Backdoor Mitigation by Distance-Driven Detoxification', arXiv:2411.09585.
Deviation: the distance is divided by the given classifier's norm and has the weight, ``push`` =
norm / lambda, so that it carries over to other heads: lambda = 0.5 at a norm of 6 is 12, and the
learning rate is lambda times the paper's. The distance is the Euclidean one, the layer the last
linear one. The learning rate falls along half a cosine at each step, and the run is judged at its
end under a constant rate too: its first steps, with a new head, are near chance.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._heads import redraw, rescale
from trials.defenses._start import fits, start
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import in_precision, make_optimizer
from trials.types import DefenderView

FAMILY = "head_shift"
NEEDS = frozenset({"trained_head"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 500,
    lr: PositiveFloat = 0.01,
    optimizer: Literal["sgd", "adam"] = "sgd",
    batch: PositiveInt = 128,
    push: NonNegativeFloat = 12.0,
    slack: NonNegativeFloat = 0.1,
    first: Literal["uniform", "opposite"] = "uniform",
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "cosine",
    clip: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise mean(max(loss - ``slack``, 0)) - ``push`` * |W - W0| / |W0|, W scaled to |W0| after
    each step.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam, of all parameters.
        batch: images a step.
        push: weight of the distance to the given classifier W0.
        slack: loss of an image that costs nothing.
        first: W at the start: drawn anew, or -W0, the farthest of that norm.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps``, ``constant`` stays at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.

    Raises:
        SpecError: the last linear layer is not trained, as one made of text embeddings.
    """
    fits("d3", view, NEEDS)
    model, batches = start(view, rng, batch)
    head = Classifier(model).head
    old = redraw(head, rng)
    norm, clean = torch.linalg.vector_norm(old), CleanLoss(view.model, distill)
    if first == "opposite":
        head.weight.data.copy_(-old)
    rescale(head, norm)

    def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        kept = F.relu(clean.each(student(x), x, y) - slack).mean()
        total: Tensor = kept - push * torch.linalg.vector_norm(head.weight - old) / norm
        return total

    tuner = make_optimizer(model, optimizer, lr)
    yield from descend(
        model, batches, tuner, steps, every, in_precision(precision, loss), schedule=schedule,
        clip=clip, only_end=True, after=lambda _: rescale(head, norm),
    )  # fmt: skip
