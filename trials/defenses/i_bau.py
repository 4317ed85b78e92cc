"""I-BAU: unlearn, round by round, the one perturbation that misleads most, its answer to the change
included.

Source: Zeng et al. 2022, 'Adversarial Unlearning of Backdoors via Implicit Hypergradient',
arXiv:2110.03735.
Deviation: the perturbation is bounded in norm, lives in pixels of [0, 1] and is added to at least
one image of a batch; in the authors' code it has no bound, and none of a batch below 100 carries
it. A step of the curve is a round. Trusted images are augmented, where the authors' are not, and
come from the test set.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trials.defenses._descent import CleanLoss, clipped
from trials.defenses._start import start
from trials.reporting import reporter
from trials.spec import Count, Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import make_optimizer
from trials.types import DefenderView

FAMILY = "perturbation"
TUNES_BY = frozenset({"lr"})


_RATE = 0.1  # step of the inner descent that the hypergradient's series stands for
_SHRINK = 0.001  # weight of the perturbation's squared norm


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    rounds: PositiveInt = 5,
    lr: PositiveFloat = 5e-4,
    optimizer: Literal["sgd", "adam"] = "adam",
    batch: PositiveInt = 128,
    terms: Count = 5,
    share: Fraction = 0.1,
    radius: PositiveFloat = 10.0,
    inner_lr: PositiveFloat = 10.0,
    distill: Fraction = 0.0,
    clip: NonNegativeFloat = 0.0,
) -> Iterator[tuple[int, nn.Module]]:
    """A round: find a perturbation, then minimise the loss with it on some images, by the implicit
    gradient.

    Args:
        rounds: passes over the trusted images, each twice: to find a perturbation, and to unlearn
            it.
        lr: learning rate of the model, constant.
        optimizer: sgd (Nesterov momentum 0.9) or adam, of the model.
        batch: images a step.
        terms: of the series for how the perturbation answers a change of the model; 0 leaves that
            out.
        share: of a batch that carries the perturbation, at least one image.
        radius: largest Euclidean norm of the perturbation.
        inner_lr: learning rate of the perturbation.
        distill: share of the divergence from the given model's soft outputs for the clean images;
            the rest is cross-entropy with the labels.
        clip: largest norm of the model's gradient; 0 clips nothing.
    """
    model, batches = start(view, rng, batch)
    model.eval()
    tuner, clean = make_optimizer(model, optimizer, lr), CleanLoss(view.model, distill)
    number = -(-len(view.trusted) // batch)
    last, losses = reporter.upto(rounds), list[Tensor]()
    for step in range(1, rounds + 1):
        reporter.part(f"round {step} of {last}", (step - 1) / last, step / last)
        first, _ = next(batches)
        delta = perturbation(
            model, itertools.chain([first], (x for x, _ in batches)), number, inner_lr, radius
        )
        for done, (x, y) in enumerate(itertools.islice(batches, number), 1):
            some = (torch.randperm(len(x), generator=rng) < max(1, int(share * len(x)))).to(x)[
                :, None, None, None
            ]

            def outer(d: Tensor, x: Tensor = x, y: Tensor = y, some: Tensor = some) -> Tensor:
                losses[:] = [clean.of(model(x + some * d), x, y)]
                return losses[0]

            def inner(d: Tensor, x: Tensor = first) -> Tensor:
                return misled(model, x, d)

            with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
                gradients = hypergradient(list(model.parameters()), delta, inner, outer, terms)
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.grad = gradient
            if clip:
                clipped(tuner, clip)
            tuner.step()
            reporter.report(done, number, losses[0])
        yield step, model


def misled(model: nn.Module, x: Tensor, delta: Tensor) -> Tensor:
    """What the perturbation (1, c, h, w) minimises: -cross-entropy with the model's own answer +
    0.001 |delta|^2.
    """
    with torch.no_grad():
        own = model(x).argmax(1)
    return _SHRINK * delta.square().sum() - F.cross_entropy(model(x + delta), own)


def perturbation(
    model: nn.Module, batches: Iterator[Tensor], steps: int, lr: float, radius: float
) -> Tensor:
    """The perturbation after ``steps`` of gradient descent from 0, within the radius."""
    first = next(batches)
    delta = torch.zeros_like(first[:1])
    for x in itertools.islice(itertools.chain([first], batches), steps):
        delta.requires_grad_(True)
        (gradient,) = torch.autograd.grad(misled(model, x, delta), delta)
        delta = delta.detach() - lr * gradient
        delta = delta * min(1.0, radius / max(float(delta.norm()), 1e-12))
    return delta


def hypergradient(
    parameters: list[nn.Parameter],
    delta: Tensor,
    inner: Callable[[Tensor], Tensor],
    outer: Callable[[Tensor], Tensor],
    terms: int,
) -> list[Tensor]:
    """Gradient of outer(delta*(theta), theta), where delta* minimises ``inner``: direct part and
    the series' answer.

    With g = d outer / d delta and H = d2 inner / d delta2 it is d outer / d theta - 0.1 (d2 inner /
    d theta d delta) v, v the sum of (I - 0.1 H)^k g over k below ``terms``.
    """
    delta = delta.detach().requires_grad_(True)
    back, *direct = torch.autograd.grad(outer(delta), [delta, *parameters], materialize_grads=True)
    if not terms:
        return direct
    (slope,) = torch.autograd.grad(inner(delta), delta, create_graph=True)
    term, total = back, back
    for _ in range(terms - 1):
        (turned,) = torch.autograd.grad(slope, delta, term, retain_graph=True)
        term = term - _RATE * turned
        total = total + term
    cross = torch.autograd.grad(slope, parameters, total, allow_unused=True)
    return [d if c is None else d - _RATE * c for d, c in zip(direct, cross, strict=True)]
