"""Adversarial neuron pruning: cut the channels whose loss is most easily raised by changing their
scale and shift.

Source: Wu & Wang 2021, 'Adversarial Neuron Pruning Purifies Backdoored Deep Models',
arXiv:2110.14430.
Deviation: the threshold is the curve's axis: channels are cut in the order of their mask, and a
step is the number cut. As in the authors' code the perturbations start anywhere in +-eps and are
not projected after their step, and statistics move while masks are learnt, and are then discarded;
the cut model is the given one with scales of 0.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.defenses._start import fits, start
from trials.defenses._units import POINTS, nested, scaled
from trials.reporting import reporter
from trials.spec import Fraction, NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt
from trials.types import DefenderView

FAMILY = "pruning"
NEEDS = frozenset({"scales"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    iterations: PositiveInt = 2000,
    lr: PositiveFloat = 0.2,
    batch: PositiveInt = 128,
    eps: NonNegativeFloat = 0.4,
    alpha: Fraction = 0.2,
    most: PositiveFraction = 0.2,
) -> Iterator[tuple[int, nn.Module]]:
    """Learn a mask a channel on ``alpha`` * loss + (1 - ``alpha``) * perturbed loss; cut the lowest
    masks first.

    Args:
        iterations: optimizer steps on the masks; each takes three gradients.
        lr: learning rate of the masks (SGD, momentum 0.9), constant.
        batch: images a step.
        eps: size of the perturbations of scale and shift, relative to them.
        alpha: share of the loss without perturbations.
        most: share of all channels that are cut at the end of the curve, in at most 40 points.

    Raises:
        SpecError: the model has no normalisation with scales.
    """
    fits("anp", view, NEEDS)
    model, batches = start(view, rng, batch)
    norms = Classifier(model).scales()
    wanted = set(map(id, norms))
    places = [i for i, m in enumerate(model.modules()) if id(m) in wanted]
    learning = iterations / (iterations + POINTS)
    reporter.part("learning masks", 0, learning)
    masks = learnt(model.requires_grad_(False), norms, batches, rng, iterations, lr, eps, alpha)
    reporter.part("pruning", learning, 1)
    yield from nested(view.model, places, masks, most, zero_bias=False)


def learnt(
    model: nn.Module,
    norms: Sequence[nn.Module],
    batches: Iterator[tuple[Tensor, Tensor]],
    rng: Generator,
    iterations: int,
    lr: float,
    eps: float,
    alpha: float,
) -> list[Tensor]:
    """The masks in [0, 1], (channels,) for each normalisation; ``model``'s statistics move."""
    names = {m: name for name, m in model.named_modules()}
    keys = [(f"{names[n]}.weight", f"{names[n]}.bias") for n in norms]
    pairs = [scaled(norm) for norm in norms]
    scales, shifts = [s.detach() for s, _ in pairs], [s.detach() for _, s in pairs]
    masks = [torch.ones_like(s, requires_grad=True) for s in scales]
    tuner = torch.optim.SGD(masks, lr, momentum=0.9, foreach=True)

    def outputs(x: Tensor, moved: list[Tensor], turned: list[Tensor]) -> Tensor:
        weights = {}
        for i, (scale, shift) in enumerate(keys):
            weights[scale] = scales[i] * (masks[i] + moved[i])
            weights[shift] = shifts[i] * (1 + turned[i])
        found: Tensor = torch.func.functional_call(model, weights, (x,))
        return found

    def drawn(like: list[Tensor]) -> list[Tensor]:
        return [
            ((2 * torch.rand(s.shape, generator=rng) - 1) * eps).to(s).requires_grad_(True)
            for s in like
        ]

    still = [torch.zeros_like(s) for s in scales]
    model.train()
    for step in range(1, iterations + 1):
        x, y = next(batches)
        moved, turned = drawn(scales), drawn(shifts)
        if eps:
            worst = torch.autograd.grad(
                F.cross_entropy(outputs(x, moved, turned), y), moved + turned
            )
            with torch.no_grad():
                torch._foreach_add_(moved + turned, [eps * g.sign() for g in worst])
        moved, turned = [m.detach() for m in moved], [t.detach() for t in turned]
        loss = alpha * F.cross_entropy(outputs(x, still, still), y)
        if alpha < 1:
            loss = loss + (1 - alpha) * F.cross_entropy(outputs(x, moved, turned), y)
        tuner.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        tuner.step()
        with torch.no_grad():
            for mask in masks:
                mask.clamp_(0, 1)
        reporter.report(step, iterations, loss)
    return [mask.detach() for mask in masks]
