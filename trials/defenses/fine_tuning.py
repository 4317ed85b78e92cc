"""Fine-tuning on the trusted images with cross-entropy alone: the control for every term that
others add.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-B, with the weight decay of Table V set
to zero.
Deviation: not in the paper's Table V; the steps and the learning rate are those of its weight-decay
column."""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.defenses._start import start
from trials.spec import PositiveFloat, PositiveInt
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
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the cross-entropy on trusted images.

    Args:
        steps: optimizer steps.
        lr: learning rate, constant.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
    """
    model, batches = start(view, rng, batch)
    yield from tune(model, batches, make_optimizer(model, optimizer, lr), steps, every)
