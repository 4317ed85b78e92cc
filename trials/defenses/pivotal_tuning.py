"""Pivotal Tuning: decouple the latents of the classes from the given model's, on a soft leash to
its weights.

Source: Lukas & Kerschbaum 2023, 'Pick your Poison', arXiv:2305.09671, Algorithm 3; Table V
(CIFAR-10 column).
Deviation: the leash is given as kappa = 2 lambda_R / n (n parameters), the factor that its gradient
really has in the authors' preliminary code (a mean, not the printed norm), so that it carries over
to other architectures; Table V's lambda_R = 20,000 is kappa = 3.58e-3 for the ResNet-18 of CIFAR-10
(``lambda_r`` converts). Centroids are those of the minibatch, for all three forms of the latent
term; as printed they are of all trusted images, a pass over them a step. The default form is
``printed``, the published loss: ``release`` has a broadcasting slip (it is not 0 for orthogonal
centroids) and grows with the latents' scale, so that no lambda_S carries over; ``abs``, what
'orthogonalise' says, is our reading. Minimising the printed, signed term turns centroid differences
around rather than orthogonal.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import with_latents
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import fits, start
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import autocast, frozen, full, in_precision, make_optimizer
from trials.types import DefenderView

FAMILY = "fine_tuning"
TUNES_BY = frozenset({"lr"})
NEEDS = frozenset({"head"})


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
    lambda_s: NonNegativeFloat = 0.05,
    kappa: NonNegativeFloat = 3.58e-3,
    slol: Literal["printed", "release", "abs"] = "printed",
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "constant",
    clip: NonNegativeFloat = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise cross-entropy + ``lambda_s`` * SLOL + lambda_R * mean squared distance to the given
    weights.

    Args:
        steps: optimizer steps.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
        lambda_s: weight of the latent term, a sum over the pairs of classes in a batch; 0 leaves it
            out.
        kappa: pull to the given weights, 2 * lambda_R / parameters; 0 lets go.
        slol: form of the latent term.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient, the pull's included; 0 clips nothing.
        precision: of the networks in a step, fp32 or bf16; weights and losses are always fp32.

    Raises:
        SpecError: no linear layer gives the model's logits.
    """
    fits("pivotal_tuning", view, NEEDS)
    model, batches = start(view, rng, batch)
    pivot, clean = frozen(view.model), CleanLoss(view.model, distill)
    tuner = make_optimizer(model, optimizer, lr)
    if kappa:
        leash(tuner, model, pivot, kappa)

    def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        latents, logits = with_latents(student, x)
        total = clean.of(logits, x, y)
        if lambda_s:
            with torch.no_grad():
                given, _ = with_latents(pivot, x)
            with autocast(x.device, low=False):
                total = total + lambda_s * latent_term(latents, given, y, slol)
        return total

    host = in_precision(precision, loss)
    yield from descend(model, batches, tuner, steps, every, host, schedule=schedule, clip=clip)


def leash(tuner: torch.optim.Optimizer, model: nn.Module, pivot: nn.Module, kappa: float) -> None:
    """Add kappa * (theta - pivot), the gradient of lambda_R * mean squared distance, before each
    step.
    """
    pairs = list(zip(model.parameters(), pivot.parameters(), strict=True))

    def pull(*_: object) -> None:
        used = [(p, q) for p, q in pairs if p.grad is not None]
        with torch.no_grad():
            apart = torch._foreach_sub([p for p, _ in used], [q for _, q in used])
            torch._foreach_add_([p.grad for p, _ in used if p.grad is not None], apart, alpha=kappa)

    tuner.register_step_pre_hook(pull)


def lambda_r(kappa: float, model: nn.Module) -> float:
    """The paper's lambda_R of a pull ``kappa``: kappa * n / 2, n the model's parameters (no running
    statistics).
    """
    return kappa * sum(p.numel() for p in model.parameters()) / 2


def latent_term(latents: Tensor, given: Tensor, y: Tensor, form: str) -> Tensor:
    """SLOL of a batch; 0 if it holds fewer than two classes.

    Args:
        latents: (n, d) of the tuned model.
        given: (n, d) of the given model.
        y: int64 (n,).
        form: ``printed``, ``release`` or ``abs``.
    """
    new, old = centroids(latents, y), centroids(given, y)
    i, j = torch.triu_indices(len(new), len(new), 1, device=y.device)
    if not len(i):
        return latents.new_zeros(())
    turn: Tensor = F.cosine_similarity(old[i] - old[j], new[i] - new[j], dim=1, eps=1e-8)
    if form == "release":
        gram = new.T @ new / len(new)
        slip: Tensor = torch.linalg.matrix_norm(gram - gram.diagonal())
        return turn.sum() + slip
    angle: Tensor = F.cosine_similarity(new[i], new[j], dim=1, eps=1e-8)
    return (turn.abs() + angle.abs()).sum() if form == "abs" else (turn + angle).sum()


def centroids(latents: Tensor, y: Tensor) -> Tensor:
    """Mean latent of each class in the batch, in at least float32: (classes present, d)."""
    latents = full(latents)
    # a product, not index_add: the same bits each run
    present = (y[:, None] == torch.unique(y)).to(latents.dtype)
    means: Tensor = present.T @ latents / present.sum(0)[:, None]
    return means
