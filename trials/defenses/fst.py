"""Feature shift tuning: a new classifier, pushed away from the old one, so that the features before
it must move.

Source: Min et al. 2023, 'Towards Stable Backdoor Purification through Feature Shift Tuning',
arXiv:2310.01875.
Deviation: by default the given model's soft outputs replace the labels, and the learning rate falls
along half a cosine at each step, not each epoch. ``alpha`` weighs <W, W0> / |W0|^2, the cosine of
the two classifiers, so that it carries over to heads of another norm; the paper's alpha is this one
divided by |W0|^2. The run is judged at its end under a constant rate too: its first steps, with a
new head, are near chance.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._heads import redraw, rescale
from trials.defenses._start import fits, start
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import in_precision, make_optimizer
from trials.types import DefenderView

FAMILY = "head_shift"
LEARNS_BY = frozenset({"steps"})
NEEDS = frozenset({"trained_head"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 200,
    lr: PositiveFloat = 0.03,
    optimizer: Literal["sgd", "adam"] = "sgd",
    batch: PositiveInt = 64,
    alpha: NonNegativeFloat = 3.5,
    distill: Fraction = 1.0,
    temperature: PositiveFloat = 2.0,
    schedule: Literal["constant", "cosine"] = "cosine",
    clip: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the loss on clean images + ``alpha`` * <W, W0> / |W0|^2, W scaled to |W0| after each
    step.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam, of all parameters.
        batch: images a step.
        alpha: push away from the given classifier W0; 0 leaves a new classifier alone.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        temperature: of the soft outputs.
        schedule: ``cosine`` falls to 0 over ``steps``, ``constant`` stays at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.

    Raises:
        SpecError: the last linear layer is not trained, as one made of text embeddings.
    """
    fits("fst", view, NEEDS)
    model, batches = start(view, rng, batch)
    head = Classifier(model).head
    old = redraw(head, rng)
    norm, clean = torch.linalg.vector_norm(old), CleanLoss(view.model, distill, temperature)

    def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        total = clean(student, x, y)
        return total + alpha * (head.weight * old).sum() / norm.square() if alpha else total

    tuner = make_optimizer(model, optimizer, lr)
    yield from descend(
        model, batches, tuner, steps, every, in_precision(precision, loss), schedule=schedule,
        clip=clip, only_end=True, after=lambda _: rescale(head, norm),
    )  # fmt: skip
