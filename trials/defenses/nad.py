"""Neural Attention Distillation: the model learns to attend as its own fine-tuned copy does.

Source: Li et al. 2021, arXiv:2101.05930; Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-B and
Table V (CIFAR-10 column).
Deviation: attention is read at the outputs of all stages, layer1 to layer4 of a ResNet (the
original has three groups of a WideResNet; the authors' preliminary code read the inputs of the four
stages, so never the last one's output). Of a transformer, which the original does not know, it is
read after the blocks at 1/4, 1/2, 3/4 and all of the depth, at the tokens that stand for places.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import Classifier, with_features
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import fits, start
from trials.reporting import reporter
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import clone, frozen, full, in_precision, make_optimizer
from trials.types import DefenderView

FAMILY = "fine_tuning"
TUNES_BY = frozenset({"lr", "teacher_lr"})
NEEDS = frozenset({"stages"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 2000,
    lr: PositiveFloat = 0.01,
    optimizer: Literal["sgd", "adam"] = "sgd",
    batch: PositiveInt = 128,
    teacher_steps: PositiveInt = 1000,
    teacher_lr: PositiveFloat = 0.01,
    power: PositiveInt = 2,
    lambda_at: NonNegativeFloat = 1000.0,
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    clip: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise cross-entropy + ``lambda_at`` * distance of attention maps to a fine-tuned copy's.

    Args:
        steps: optimizer steps of the student; the teacher's come before and are not counted.
        lr: learning rate of the student, constant.
        optimizer: sgd (Nesterov momentum 0.9) or adam, of student and teacher.
        batch: images a step, of student and teacher.
        teacher_steps: optimizer steps of the teacher.
        teacher_lr: learning rate of the teacher, constant.
        power: exponent of an activation in the attention map.
        lambda_at: weight of the attention distance, a mean over images and places, summed over the
            stages.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: of both rates; ``cosine`` falls to 0 over the steps and is judged at its end,
            ``constant`` stays.
        clip: largest norm of a gradient, the student's and the teacher's; 0 clips nothing.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.

    Raises:
        SpecError: the model has fewer than two stages.
    """
    fits("nad", view, NEEDS)
    student, batches = start(view, rng, batch)
    shape = view.trusted.x.shape[1:]
    inner, learner = list(Classifier(student, shape).stages().values()), clone(view.model)
    clean, teaching = CleanLoss(view.model, distill), make_optimizer(learner, optimizer, teacher_lr)
    teaching_share = teacher_steps / (teacher_steps + reporter.upto(steps, every))
    reporter.part("teacher", 0, teaching_share)
    for _ in descend(
        learner,
        batches,
        teaching,
        teacher_steps,
        teacher_steps,
        in_precision(precision, clean),
        schedule=schedule,
        clip=clip,
    ):
        pass
    reporter.part("student", teaching_share, 1)
    teacher = frozen(learner)
    shown = list(Classifier(teacher, shape).stages().values())

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mine, logits = with_features(model, inner, x)
        with torch.no_grad():
            theirs, _ = with_features(teacher, shown, x)
        return clean.of(logits, x, y) + lambda_at * attention_distance(mine, theirs, power)

    tuner = make_optimizer(student, optimizer, lr)
    host = in_precision(precision, loss)
    yield from descend(student, batches, tuner, steps, every, host, schedule=schedule, clip=clip)


def attention_distance(mine: list[Tensor], theirs: list[Tensor], power: int) -> Tensor:
    """Mean squared difference of the attention maps, summed over stages."""
    pairs = zip(mine, theirs, strict=True)
    return torch.stack(
        [F.mse_loss(attention(a, power), attention(b, power)) for a, b in pairs]
    ).sum()


def attention(features: Tensor, power: int) -> Tensor:
    """Sum over channels of |features|^power, divided by its norm over the places: (n, c, h, w) to
    (n, h * w).
    """
    energy = full(features).abs().pow(power).sum(1).flatten(1)
    size: Tensor = torch.linalg.vector_norm(energy, dim=1, keepdim=True)
    return energy / (size + 1e-6)
