"""Shared adversarial unlearning: unlearn the perturbations by which the given and the tuned model
err alike.

Source: Wei et al. 2023, 'Shared Adversarial Unlearning: Backdoor Mitigation by Unlearning Shared
Adversarial Examples', arXiv:2307.10562.
Deviation: steps instead of 100 passes, trusted images augmented, and the learning rate falls along
half a cosine. As in the authors' code a perturbed image is not cut to [0, 1] and BatchNorm uses its
running statistics throughout.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import start
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import frozen, make_optimizer
from trials.types import DefenderView

_FOOL, _SHARE = 0.01, 1.0  # weights of the two parts of what a perturbation is to minimise


FAMILY = "perturbation"
TUNES_BY = frozenset({"lr"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 500,
    lr: PositiveFloat = 1e-4,
    optimizer: Literal["sgd", "adam"] = "adam",
    batch: PositiveInt = 128,
    radius: PositiveFloat = 0.2,
    inner_steps: PositiveInt = 5,
    adversarial: NonNegativeFloat = 0.0,
    unlearn: NonNegativeFloat = 1.0,
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "cosine",
    clip: NonNegativeFloat = 0.0,
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the clean loss + ``unlearn`` * -log(1 - p(what the given model now sees)) on
    perturbed images.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
        radius: largest change of a pixel, in [0, 1], and the step of the perturbation.
        inner_steps: steps of the perturbation.
        adversarial: weight of the cross-entropy with the labels on perturbed images.
        unlearn: weight of the shared error.
        distill: on clean images, share of the divergence from the given model's soft outputs; the
            rest is cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.
    """
    model, batches = start(view, rng, batch)
    given, clean = frozen(view.model), CleanLoss(view.model, distill)

    def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x_bad = x + shared(student, given, x, y, radius, inner_steps)
        total = clean(student, x, y)
        logits = student(x_bad)
        total = total + unlearn * shared_error(given, logits, x, x_bad, y)
        return total + adversarial * F.cross_entropy(logits, y) if adversarial else total

    tuner = make_optimizer(model, optimizer, lr)
    yield from descend(
        model, batches, tuner, steps, every, loss, schedule=schedule, clip=clip, freeze_bn=True
    )


def shared(
    model: nn.Module, given: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int
) -> Tensor:
    """Perturbations (n, c, h, w) within +-``radius`` that mislead both models, to the same wrong
    class if they can.
    """
    with torch.no_grad():
        own, theirs = model(x).argmax(1), given(x).argmax(1)
    delta = torch.full_like(x, radius)
    for _ in range(steps):
        delta.requires_grad_(True)
        aim, done = toward_sharing(model(x + delta), given(x + delta), y, own, theirs)
        if bool(done.all()):
            break
        (slope,) = torch.autograd.grad(aim, delta)
        delta = (delta.detach() - radius * slope.sign()).clamp(-radius, radius)
    return delta.detach()


def toward_sharing(
    a: Tensor, b: Tensor, y: Tensor, own: Tensor, theirs: Tensor
) -> tuple[Tensor, Tensor]:
    """What a perturbation is to minimise, and bool (n,): both answers changed, and are the same.

    Args:
        a, b: logits (n, classes) of the tuned and the given model on perturbed images.
        y: labels.
        own, theirs: their answers to the clean images.
    """
    one, other = a.argmax(1), b.argmax(1)
    done = (one != own) & (other != theirs) & (one == other)
    fooled = F.cross_entropy(a, y, reduction="none") * (one == own)
    fooled = fooled + F.cross_entropy(b, y, reduction="none") * (other == theirs)
    p, q = F.log_softmax(a, 1), F.log_softmax(b, 1)
    middle = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0))
    apart = (
        sum(F.kl_div(middle, each, reduction="none", log_target=True).sum(1) for each in (p, q)) / 2
    )
    total: Tensor = (_SHARE * apart * ~done - _FOOL * fooled / 2).mean()
    return total, done


def shared_error(given: nn.Module, logits: Tensor, x: Tensor, x_bad: Tensor, y: Tensor) -> Tensor:
    """Mean over the batch of -log(1 - p(c)), c what the given model sees in a perturbed image that
    misleads it.
    """
    with torch.no_grad():
        now, before = given(x_bad).argmax(1), given(x).argmax(1)
    wrong = (now != y) & (now != before)
    # log(1 - p), exact
    others = logits.scatter(1, now[:, None], -torch.inf).logsumexp(1) - logits.logsumexp(1)
    error: Tensor = -(others * wrong).mean()
    return error
