"""Fine-tuning on the trusted images with cross-entropy alone: the control for every term that
others add.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-B, with the weight decay of Table V set
to zero.
Deviation: not in the paper's Table V; the steps and the learning rate are those of its weight-decay
column.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import start
from trials.displaced import toward
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import in_precision, make_optimizer
from trials.types import DefenderView

FAMILY = "fine_tuning"
TUNES_BY = frozenset({"lr"})


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
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    clip: NonNegativeFloat = 0.0,
    pam: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the cross-entropy on trusted images.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.
        pam: length of the way toward the given weights at whose end the gradient is taken
            (path-aware minimisation); 0 takes it at the weights.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.
    """
    model, batches = start(view, rng, batch)
    tuner = make_optimizer(model, optimizer, lr)
    loss = in_precision(precision, CleanLoss(view.model, distill))
    host = toward(model, tuner, view.model, pam, loss) if pam else loss
    yield from descend(model, batches, tuner, steps, every, host, schedule=schedule, clip=clip)
