"""Fine-tuning with weight decay: weights that clean images do not need shrink away, the trigger's
among them.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-B and Table V (CIFAR-10 column).
Deviation: the authors' preliminary code used the decay as its learning rate (0.01), which shrinks
the weights to 0.37 of their size over the run against 0.90 with Table V's lr = 0.001; set lr =
lambda_w to emulate it. With sgd the decay is coupled (lambda_w * theta joins the gradient, hence
the momentum), with adam it is decoupled (AdamW).
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import start
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
    lambda_w: NonNegativeFloat = 0.01,
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    clip: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the cross-entropy on trusted images while every parameter, BatchNorm's too, decays.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9, coupled decay) or adam (decoupled decay).
        batch: images a step.
        lambda_w: weight decay a step, times lr; 0 is plain fine-tuning.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.
    """
    model, batches = start(view, rng, batch)
    tuner = make_optimizer(model, optimizer, lr, lambda_w)
    loss = in_precision(precision, CleanLoss(view.model, distill))
    yield from descend(model, batches, tuner, steps, every, loss, schedule=schedule, clip=clip)
