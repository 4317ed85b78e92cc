"""Two-stage defense: cut the weights that clean unlearning changes most, then tune where the loss
is flat.

Source: Lin et al. 2024, 'Unveiling and Mitigating Backdoor Vulnerabilities based on Unlearning
Weight Changes and Backdoor Activeness', arXiv:2405.20291.
Deviation: the share of filters is a setting and not the curve's axis, as every share is tuned
anew. Filters are rows of every linear layer and convolution but the last layer, shortcuts
included. As in the authors' code the step up has its length in each tensor, not over all together.
Unlearning decays weights by 5e-4, is checked every few steps, on the batches since the last look,
not once an epoch, and fails where it does not reach ``stop`` in 1,000 steps. The learning rate
falls along half a cosine, where the authors' is constant.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.defenses._descent import CleanLoss, descend
from trials.defenses._start import start
from trials.defenses._unlearning import USUAL, unlearn
from trials.displaced import Displaced, statistics_kept
from trials.reporting import reporter
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt
from trials.train import Loss, clone, make_optimizer
from trials.types import DefenderView

FAMILY = "pruning"


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 200,
    lr: PositiveFloat = 0.01,
    optimizer: Literal["sgd", "adam"] = "sgd",
    batch: PositiveInt = 256,
    unlearn_lr: PositiveFloat = 1e-4,
    stop: PositiveFraction = 0.1,
    share: Fraction = 0.15,
    part: PositiveFraction = 0.7,
    radius: NonNegativeFloat = 0.05,
    alpha: Fraction = 0.7,
    distill: Fraction = 0.0,
    schedule: Literal["constant", "cosine"] = "cosine",
    clip: NonNegativeFloat = 0.0,
) -> Iterator[tuple[int, nn.Module]]:
    """Raise the loss until the accuracy is ``stop``; set the weights that this changed most to 0,
    and descend by (1 - ``alpha``) * gradient + ``alpha`` * gradient a step up.

    Args:
        steps: optimizer steps; those of the unlearning come before.
        lr: learning rate of the first step.
        optimizer: sgd (Nesterov momentum 0.9) or adam.
        batch: images a step.
        unlearn_lr: learning rate of the unlearning (SGD, momentum 0.9, weight decay 5e-4).
        stop: accuracy on the trusted batches at which unlearning ends; 1 / classes for ten classes.
        share: of all filters, those that changed most, of which weights are cut; 0 cuts none.
        part: share of those filters' weights that is cut, those that changed most.
        radius: length of the step up in each tensor.
        alpha: share of the gradient a step up; 0 leaves the step out.
        distill: share of the divergence from the given model's soft outputs; the rest is
            cross-entropy with the labels.
        schedule: ``cosine`` falls to 0 over ``steps`` and is judged at its end, ``constant`` stays
            at ``lr``.
        clip: largest norm of the gradient; 0 clips nothing.

    Raises:
        RuntimeError: the unlearning did not reach ``stop``.
        ArithmeticError: the unlearning diverged.
    """
    model, batches = start(view, rng, batch)
    first = USUAL / (USUAL + 2 * steps)
    reporter.part("unlearning, at most", 0, first)
    erring = clone(model)
    unlearn("tsbd", erring, batches, unlearn_lr, stop)
    reporter.part("tuning", first, 1)
    shape = view.trusted.x.shape[1:]
    pairs = list(zip(filters(model, shape), filters(erring, shape), strict=True))
    zero([before for before, _ in pairs], [changes(*pair) for pair in pairs], share, part)
    tuner, clean = make_optimizer(model, optimizer, lr), CleanLoss(view.model, distill)
    loss = flattening(model, tuner, radius, alpha, clean) if radius and alpha else clean
    yield from descend(model, batches, tuner, steps, every, loss, schedule=schedule, clip=clip)


def filters(model: nn.Module, shape: Sequence[int]) -> list[nn.Parameter]:
    """The weights of the linear layers and convolutions but the last layer, a row a filter; of a
    model of one layer that one's.

    Args:
        model: any classifier.
        shape: of an image, (c, h, w).
    """
    last = Classifier(model, shape).parts.head
    found: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and isinstance(module.weight, nn.Parameter):
            found.setdefault(module.weight, name)
    return [weight for weight, name in found.items() if name != last] or list(found)


@torch.no_grad()
def changes(before: Tensor, after: Tensor) -> Tensor:
    """Absolute change of each weight, (filters, inputs)."""
    return (after - before).abs().flatten(1)


@torch.no_grad()
def zero(
    weights: Sequence[nn.Parameter], changed: Sequence[Tensor], share: float, part: float
) -> None:
    """Set to 0, of the ``share`` of filters of the largest total change, the ``part`` of their
    weights that changed most; both rounded down.

    Args:
        weights: of each layer, a row a filter.
        changed: (filters, inputs) for each of them.
    """
    totals = torch.cat([change.sum(1) for change in changed])
    order = totals.argsort(descending=True, stable=True)
    chosen = torch.zeros_like(totals, dtype=torch.bool)
    chosen[order[: int(share * len(totals) + 1e-9)]] = True
    rows = torch.split(chosen, [len(change) for change in changed])
    among = torch.cat([change[row].flatten() for change, row in zip(changed, rows, strict=True)])
    number = int(part * len(among) + 1e-9)
    if not number:
        return
    cut = torch.zeros_like(among, dtype=torch.bool)
    cut[among.argsort(descending=True, stable=True)[:number]] = True
    sizes = [int(row.sum()) * c.shape[1] for c, row in zip(changed, rows, strict=True)]
    for weight, row, mine in zip(weights, rows, torch.split(cut, sizes), strict=True):
        mask = torch.zeros(weight.shape, dtype=torch.bool, device=weight.device)
        mask[row] = mine.reshape(mask[row].shape)
        weight.masked_fill_(mask, 0)


def flattening(
    model: nn.Module, optimizer: torch.optim.Optimizer, radius: float, alpha: float, loss: Loss
) -> Loss:
    """A loss whose gradient is (1 - alpha) * that at the weights + alpha * that a step of length
    ``radius`` in each tensor up it; the running statistics move by the batch once.
    """
    displaced = Displaced(model, optimizer)

    def moved(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        here = loss(student, x, y)
        slopes = torch.autograd.grad(here, displaced.parameters, materialize_grads=True)
        for parameter, slope in zip(displaced.parameters, slopes, strict=True):
            parameter.grad = torch.zeros_like(parameter).add_(slope, alpha=1 - alpha)
        displaced.by([slope * (radius / slope.norm().clamp_min(1e-12)) for slope in slopes])
        with statistics_kept(student):
            return alpha * loss(student, x, y) + (1 - alpha) * here.detach()

    return moved
