"""Sharpness-aware fine-tuning: descend by the gradient of the worst point near the weights.

Source: Zhu et al. 2023, 'Enhancing Fine-Tuning based Backdoor Defense with Sharpness-Aware
Minimization', arXiv:2304.11823; the adaptive radius is Kwon et al. 2021, arXiv:2102.11600.
Deviation: the learning rate falls along half a cosine over the whole run; in the authors' code it
is stepped each batch with a period of 200 batches, so that it goes up and down. Their weight decay
of 5e-4 is left out.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import start
from trials.displaced import sharpness_aware
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
    lr: PositiveFloat = 0.01,
    optimizer: Literal["sgd", "adam"] = "sgd",
    batch: PositiveInt = 128,
    radius: NonNegativeFloat = 2.0,
    adaptive: bool = True,
    smoothing: Fraction = 0.1,
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "cosine",
    clip: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the loss at the weights + e, where e leads up its gradient and has the length
    ``radius``.

    Args:
        steps: optimizer steps; each takes two gradients.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
        radius: length of e; adaptive, that of e / |weights|, where 2 is what the plain form has at
            0.05 to 0.2.
        adaptive: scale e by the weights, so that rescaling a layer changes nothing.
        smoothing: share of a label that is spread over the other classes.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the second gradient; 0 clips nothing.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.
    """
    model, batches = start(view, rng, batch)
    tuner = make_optimizer(model, optimizer, lr)
    clean = in_precision(precision, CleanLoss(view.model, distill, smoothing=smoothing))
    loss = sharpness_aware(model, tuner, radius, adaptive, clean) if radius else clean
    yield from descend(model, batches, tuner, steps, every, loss, schedule=schedule, clip=clip)
