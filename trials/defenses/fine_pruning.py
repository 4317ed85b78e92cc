"""Fine-Pruning: cut the channels that clean images hardly use, then fine-tune.

Source: Liu, Dolan-Gavitt, Garg 2018, arXiv:1805.12185; Lukas & Kerschbaum 2023, arXiv:2305.09671,
section V-B and Table V (CIFAR-10 column).
Deviation: a channel of the last stage is cut where it is read: its columns of the linear layer that
reads it are zero, and are kept so while tuning. Of a transformer the hidden units of the last MLP
block are cut in the same way. To the logits and to every gradient this equals a mask on
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

from trials.classifier import Classifier, Prunable, with_inputs
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import fits, start
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import frozen, in_precision, make_optimizer
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
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Cut the ``rho`` least active channels of the last convolutional stage, or hidden units of the
    last MLP block, and minimise the cross-entropy.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
        rho: share of channels or units cut, rounded down; one always stays; 0 is plain fine-tuning.
        ranking_batches: batches over which the activation is averaged, in eval mode.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.

    Raises:
        SpecError: no one layer reads the channels of the last stage.
    """
    fits("fine_pruning", view, NEEDS)
    model, batches = start(view, rng, batch)
    last = _prunable(model, view)
    cut = min(int(rho * last.number + 1e-9), last.number - 1)
    units = torch.zeros(last.number, dtype=torch.bool)
    if cut:
        given = frozen(view.model)
        activity = mean_activity(given, batches, _prunable(given, view), ranking_batches)
        units = torch.zeros_like(activity, dtype=torch.bool).scatter(
            0, activity.argsort(stable=True)[:cut], True
        )
    columns = last.columns(units)

    def prune(_: nn.Module) -> None:
        with torch.no_grad():
            last.consumer.weight.masked_fill_(columns, 0)

    prune(model)
    tuner = make_optimizer(model, optimizer, lr)
    loss = in_precision(precision, CleanLoss(view.model, distill))
    yield from descend(
        model, batches, tuner, steps, every, loss, schedule=schedule, clip=clip, after=prune
    )


def _prunable(model: nn.Module, view: DefenderView) -> Prunable:
    found = Classifier(model, view.trusted.x.shape[1:]).prunable()
    assert found is not None
    return found


@torch.no_grad()
def mean_activity(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], units: Prunable, number: int
) -> Tensor:
    """Mean absolute activation of each of the model's units where it is read, over ``number``
    batches.
    """
    total = torch.zeros(units.number, dtype=torch.float64)
    for _ in range(number):
        inputs, _logits = with_inputs(model, units.consumer, next(batches)[0])
        total += units.activity(inputs).double().cpu()
    return total / number
