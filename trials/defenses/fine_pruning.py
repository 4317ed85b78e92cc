"""Fine-Pruning: cut the channels that clean images hardly use, then fine-tune.

Source: Liu, Dolan-Gavitt, Garg 2018, arXiv:1805.12185; Lukas & Kerschbaum 2023, arXiv:2305.09671,
section V-B and Table V (CIFAR-10 column).
Deviation: a channel of the last stage is cut where it is read: its columns of the last linear layer
are zero, and are kept so while tuning. To the logits and to every gradient this equals a mask on
the stage's post-ReLU output, shortcut included, yet it is plain weights, so that saving and loading
keep it; zero filters would leave the BatchNorm's constant, and a zero scale and shift the shortcut.
The rank is that of the pooled activation, the same as its mean absolute value since a ReLU's output
is never negative. One fixed share is cut at once, as in Table V, rather than until accuracy falls.
The authors' preliminary code ranked inputs, cut outputs and never took a tuning step.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.classifier import Classifier, require, with_latents
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import start
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import frozen, make_optimizer
from trials.types import DefenderView

FAMILY = "pruning"
NEEDS = frozenset({"prunable"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 1000,
    lr: PositiveFloat = 0.001,
    optimizer: Literal["sgd", "adam"] = "sgd",
    batch: PositiveInt = 128,
    rho: Fraction = 0.96,
    ranking_batches: PositiveInt = 10,
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    clip: NonNegativeFloat = 0.0,
) -> Iterator[tuple[int, nn.Module]]:
    """Cut the ``rho`` least active channels of the last convolutional stage and minimise the
    cross-entropy.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
        rho: share of channels cut, rounded down; one always stays; 0 is plain fine-tuning.
        ranking_batches: batches over which the activation is averaged, in eval mode.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.

    Raises:
        SpecError: the last linear layer does not read the channels of a convolution.
    """
    require("fine_pruning", view.model, NEEDS)
    model, batches = start(view, rng, batch)
    (last,) = Classifier(model).prunable()
    (head,) = last.consumers
    channels = last.producer.out_channels
    cut = min(int(rho * channels + 1e-9), channels - 1)
    columns = torch.zeros(channels, dtype=torch.bool)
    if cut:
        activity = mean_activity(frozen(view.model), batches, channels, ranking_batches)
        columns = torch.zeros_like(activity, dtype=torch.bool).scatter(
            0, activity.argsort(stable=True)[:cut], True
        )
    columns = columns.repeat_interleave(head.in_features // channels).to(head.weight.device)

    def prune(_: nn.Module) -> None:
        with torch.no_grad():
            head.weight.masked_fill_(columns, 0)

    prune(model)
    tuner, loss = make_optimizer(model, optimizer, lr), CleanLoss(view.model, distill)
    yield from descend(
        model, batches, tuner, steps, every, loss, schedule=schedule, clip=clip, after=prune
    )


@torch.no_grad()
def mean_activity(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], channels: int, number: int
) -> Tensor:
    """Mean absolute activation of each channel that reaches the last linear layer, over ``number``
    batches.
    """
    total = torch.zeros(channels, dtype=torch.float64)
    for _ in range(number):
        latents, _logits = with_latents(model, next(batches)[0])
        total += latents.abs().reshape(len(latents), channels, -1).mean((0, 2)).double().cpu()
    return total / number
