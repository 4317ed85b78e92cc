"""Neural Cleanse: invert a trigger for every class, then unlearn it on stamped images with their
true labels.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P; Lukas & Kerschbaum 2023, arXiv:2305.09671,
Algorithm 6 and Table V (CIFAR-10 column).
Deviation: all classes are inverted in one batch. The norm is that of one image, averaged over the
batch; the authors' preliminary code summed it over the batch of 128, so that its lambda_N = 0.02 is
lambda_n = 2.56 here. It also stamped the triggers of all classes (``stamp = all``), where Algorithm
6 takes the one of the smallest norm.
"""

import itertools
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import device_of, start
from trials.inversion import stamp_on
from trials.inverted import inverted
from trials.reporting import reporter
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import Loss, cross_entropy, in_precision, make_optimizer
from trials.types import DefenderView

FAMILY = "inversion"
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
    steps_per_class: PositiveInt = 100,
    inversion_lr: PositiveFloat = 0.01,
    lambda_n: NonNegativeFloat = 0.02,
    stamp: Literal["all", "smallest"] = "smallest",
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    clip: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the cross-entropy on stamped and clean trusted batches in turn, true labels on both.

    Args:
        steps: optimizer steps on the model, half of them stamped; those of the inversion come
            before.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam, of the model; triggers are found with Adam.
        batch: images a step, and images a step and class of the inversion.
        steps_per_class: steps of the inversion.
        inversion_lr: learning rate of the inversion; pixels lie in [0, 1].
        lambda_n: weight of a trigger's L1 norm, a sum over the pixels of an image.
        stamp: triggers to unlearn: of all classes, one drawn for each image, or the smallest alone.
        distill: on clean batches, share of the divergence from the given model's soft outputs; the
            rest is cross-entropy with the labels, as on stamped batches.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.
        precision: of the networks in a step of the unlearning, fp32 or bf16; weights and losses are
            always fp32, and so is the inversion: bf16 does not tell a faint trigger from none.
    """
    model, batches = start(view, rng, batch)
    trusted = view.trusted.to(device_of(view.model))
    # a step of the inversion is one of each class
    cost = steps_per_class * trusted.classes
    inversion = cost / (cost + reporter.upto(steps, every))
    reporter.part("inversion", 0, inversion)
    found = inverted(
        view.model,
        trusted,
        rng,
        steps=steps_per_class,
        lr=inversion_lr,
        batch=batch,
        norm_weight=lambda_n,
    )
    reporter.part("unlearning", inversion, 1)
    if stamp == "smallest":
        found = found[found.abs().sum((1, 2, 3)).argmin()][None]
    mixed = in_turn(batches, found, rng)
    turns: Iterator[Loss] = itertools.cycle((cross_entropy, CleanLoss(view.model, distill)))

    def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return next(turns)(student, x, y)

    tuner, host = make_optimizer(model, optimizer, lr), in_precision(precision, loss)
    yield from descend(model, mixed, tuner, steps, every, host, schedule=schedule, clip=clip)


def in_turn(
    batches: Iterator[tuple[Tensor, Tensor]], triggers: Tensor, rng: Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, every second one stamped, beginning with a stamped one."""
    while True:
        x, y = next(batches)
        pick = torch.randint(len(triggers), (len(x),), generator=rng).to(x.device)
        yield stamp_on(x, triggers[pick]), y
        yield next(batches)
