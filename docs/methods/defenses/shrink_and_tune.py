"""Shrink and tune: scale the last layer's weights down, then fine-tune on the trusted images.

Source: an example for the documentation.
Deviation: none.
"""

from collections.abc import Iterator

import torch
from torch import Generator, nn

from trials.classifier import Classifier
from trials.defenses._start import start
from trials.spec import Fraction, PositiveFloat, PositiveInt
from trials.train import make_optimizer, tune
from trials.types import DefenderView

NEEDS = frozenset({"head"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    factor: Fraction = 0.5,
    steps: PositiveInt = 60,
    lr: PositiveFloat = 0.03,
    batch: PositiveInt = 32,
) -> Iterator[tuple[int, nn.Module]]:
    """Yield (step, model) after every ``every`` optimizer steps and after the last.

    Args:
        view: the model, which is left alone, and the trusted images; nothing else can be seen.
        rng: shuffles and augments.
        every: steps between two measurements.
        factor: what the last layer's weights are multiplied by.
        steps: optimizer steps.
        lr: learning rate, constant.
        batch: images a step.
    """
    model, batches = start(view, rng, batch)
    with torch.no_grad():
        Classifier(model, view.trusted.x.shape[1:]).head.weight.mul_(factor)
    yield from tune(model, batches, make_optimizer(model, "sgd", lr), steps, every)
