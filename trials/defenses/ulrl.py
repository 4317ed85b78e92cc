"""Unlearn, then relearn: classes whose last weights move most while clean images are unlearned get
new weights, pushed away from the old ones.

Source: Min et al. 2024, 'Unified Neural Backdoor Removal with Only Few Clean Samples through
Unlearning and Relearning', arXiv:2405.14781.
Deviation: of more than two suspected classes the two that moved most are taken; the authors' code
takes the first two in the classes' order. Unlearning is checked every few steps, on the batches
since the last look, not once an epoch, and fails where it does not reach ``stop`` in 1,000 steps.
The learning rate falls at each step, not each epoch, the momentum is Nesterov's, and the given
model's soft outputs may replace the labels. The run is judged at its end under a constant rate too:
its first steps, with new weights, are near chance for a class. Where no class is suspected this is
fine-tuning, and the progress that is shown says so.
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import Classifier, Head
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import fits, start
from trials.defenses._unlearning import USUAL, unlearn
from trials.reporting import reporter
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt
from trials.train import clone, make_optimizer
from trials.types import DefenderView

FAMILY = "head_shift"
NEEDS = frozenset({"trained_head"})

_MOST = 2  # classes that are suspected at most
_NORMAL = 1.4826  # standard deviations in a median deviation


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 400,
    lr: PositiveFloat = 0.005,
    optimizer: Literal["sgd", "adam"] = "sgd",
    batch: PositiveInt = 128,
    unlearn_lr: PositiveFloat = 0.01,
    stop: PositiveFraction = 0.2,
    deviations: PositiveFloat = 3.5,
    push: NonNegativeFloat = 0.7,
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "cosine",
    clip: NonNegativeFloat = 0.0,
) -> Iterator[tuple[int, nn.Module]]:
    """Raise the loss until the accuracy is ``stop``; draw the last weights of the classes that this
    moved most anew, and minimise the loss + ``push`` * their mean cosine with the old ones.

    Args:
        steps: optimizer steps; those of the unlearning come before.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam, of all parameters.
        batch: images a step.
        unlearn_lr: learning rate of the unlearning (SGD, momentum 0.9, weight decay 5e-4).
        stop: accuracy on the trusted batches at which unlearning ends; 2 / classes for ten classes.
        deviations: a class is suspected if its weights moved more than that many median deviations
            beyond the median class's, at most two.
        push: weight of the cosine; 0 leaves the new weights alone.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps``, ``constant`` stays at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.

    Raises:
        SpecError: the last linear layer is not trained, as one made of text embeddings.
        RuntimeError: the unlearning did not reach ``stop``.
        ArithmeticError: the unlearning diverged.
    """
    fits("ulrl", view, NEEDS)
    model, batches = start(view, rng, batch)
    first = USUAL / (USUAL + steps)
    reporter.part("unlearning, at most", 0, first)
    erring = clone(model)
    unlearn("ulrl", erring, batches, unlearn_lr, stop)
    head = Classifier(model).head
    moved = (Classifier(erring).head.weight - head.weight).detach().abs().flatten(1).sum(1)
    rows = suspected(moved, deviations)
    reporter.part("relearning" if len(rows) else "tuning, as no class is suspected", first, 1)
    old, clean = redraw_rows(head, rows, rng), CleanLoss(view.model, distill)

    def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        total = clean(student, x, y)
        if not push or not len(rows):
            return total
        return total + push * F.cosine_similarity(head.weight[rows].flatten(1), old).mean()

    tuner = make_optimizer(model, optimizer, lr)
    yield from descend(
        model, batches, tuner, steps, every, loss, schedule=schedule, clip=clip, only_end=True
    )


def suspected(moved: Tensor, deviations: float) -> Tensor:
    """Which classes' weights moved unusually far: int64, at most two, the farthest first.

    Args:
        moved: (classes,), how far each did.
        deviations: median deviations beyond the median from which on a class is suspected; where
            the median deviation is 0, as for one or two classes' alike, none is.
    """
    moved = moved.double()
    beyond = moved - moved.quantile(0.5)
    spread = _NORMAL * beyond.abs().quantile(0.5)
    if not float(spread) > 0:
        return torch.zeros(0, dtype=torch.int64, device=moved.device)
    order = beyond.argsort(descending=True, stable=True)
    return order[beyond[order] > deviations * spread][:_MOST]


@torch.no_grad()
def redraw_rows(head: Head, rows: Tensor, rng: Generator) -> Tensor:
    """Draw the classes' weights anew, uniform in +-sqrt(2 / inputs), and set their biases to 0.

    Returns:
        Their old weights, (rows, inputs).
    """
    old = head.weight[rows].flatten(1).clone()
    draws = torch.rand(old.shape, generator=rng, dtype=torch.float64)
    drawn = (2 * draws - 1) * math.sqrt(2 / old.shape[1])
    head.weight[rows] = drawn.to(head.weight).reshape(head.weight[rows].shape)
    if head.bias is not None:
        head.bias[rows] = 0
    return old
