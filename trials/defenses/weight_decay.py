"""Fine-tuning with weight decay: weights that clean images do not need shrink away, the trigger's
among them.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-B and Table V (CIFAR-10 column).
Deviation: the authors' preliminary code used the decay as its learning rate (0.01), which shrinks
the weights to 0.37 of their size over the run against 0.90 with Table V's lr = 0.001; set lr =
lambda_w to emulate it. With sgd the decay is coupled (lambda_w * theta joins the gradient, hence
the momentum), with adam it is decoupled (AdamW)."""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.defenses._start import start
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import make_optimizer, tune
from trials.types import DefenderView


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
    lambda_w: NonNegativeFloat = 0.01,
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the cross-entropy on trusted images while every parameter, BatchNorm's too, decays.

    Args:
        steps: optimizer steps.
        lr: learning rate, constant.
        optimizer: sgd (Nesterov momentum 0.9, coupled decay) or adam (decoupled decay).
        batch: images a step.
        lambda_w: weight decay a step, times lr; 0 is plain fine-tuning.
    """
    model, batches = start(view, rng, batch)
    yield from tune(model, batches, make_optimizer(model, optimizer, lr, lambda_w), steps, every)
