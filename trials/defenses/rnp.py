"""Reconstructive neuron pruning: unlearn the clean images, learn them back with masks alone, cut
what masks give up.

Source: Li et al. 2023, 'Reconstructive Neuron Pruning for Backdoor Defense', arXiv:2305.14876.
Deviation: the threshold is the curve's axis: channels of the given model are cut in the order of
their mask, and a step is the number cut. Unlearning is checked every few steps, on the batches
since the last look, not once an epoch, and fails where it does not reach ``stop`` in 1,000 steps.
The authors' loss weight in the second part only rescales its learning rate, and their clipping
comes before there are gradients: both are left out.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.defenses._start import fits, start
from trials.defenses._units import POINTS, nested, scaled
from trials.defenses._unlearning import USUAL, unlearn
from trials.reporting import reporter
from trials.spec import PositiveFloat, PositiveFraction, PositiveInt
from trials.types import DefenderView

FAMILY = "pruning"
NEEDS = frozenset({"scales"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    unlearn_lr: PositiveFloat = 0.01,
    stop: PositiveFraction = 0.2,
    recover_lr: PositiveFloat = 0.04,
    recover_steps: PositiveInt = 300,
    batch: PositiveInt = 128,
    most: PositiveFraction = 0.2,
) -> Iterator[tuple[int, nn.Module]]:
    """Raise the loss until the accuracy is ``stop``, learn a mask a channel that lowers it, cut the
    lowest masks first.

    Args:
        unlearn_lr: learning rate of the ascent (SGD, momentum 0.9, weight decay 5e-4).
        stop: accuracy on the trusted batches at which the ascent ends; 2 / classes for ten classes.
        recover_lr: learning rate of the masks (SGD, momentum 0.9), constant.
        recover_steps: optimizer steps on the masks.
        batch: images a step.
        most: share of all channels that are cut at the end of the curve, in at most 40 points.

    Raises:
        SpecError: the model has no normalisation with scales.
        RuntimeError: the ascent did not reach ``stop``; channels would be cut at random.
        ArithmeticError: the ascent diverged.
    """
    fits("rnp", view, NEEDS)
    model, batches = start(view, rng, batch)
    norms = Classifier(model).scales()
    wanted = set(map(id, norms))
    places = [i for i, m in enumerate(model.modules()) if id(m) in wanted]
    whole = USUAL + recover_steps + POINTS
    reporter.part("unlearning, at most", 0, USUAL / whole)
    unlearn("rnp", model, batches, unlearn_lr, stop)
    reporter.part("learning masks", USUAL / whole, 1 - POINTS / whole)
    masks = recover(model.requires_grad_(False), norms, batches, recover_lr, recover_steps)
    reporter.part("pruning", 1 - POINTS / whole, 1)
    yield from nested(view.model, places, masks, most, zero_bias=False)


def recover(
    model: nn.Module,
    norms: Sequence[nn.Module],
    batches: Iterator[tuple[Tensor, Tensor]],
    lr: float,
    steps: int,
) -> list[Tensor]:
    """Masks in [0, 1] on the scales that minimise the cross-entropy: (channels,) for each
    normalisation.
    """
    names = {m: name for name, m in model.named_modules()}
    keys, scales = [f"{names[n]}.weight" for n in norms], [scaled(n)[0].detach() for n in norms]
    masks = [torch.ones_like(s, requires_grad=True) for s in scales]
    tuner = torch.optim.SGD(masks, lr, momentum=0.9, foreach=True)
    model.train()
    for step, (x, y) in enumerate(itertools.islice(batches, steps), 1):
        weights = {key: scale * mask for key, scale, mask in zip(keys, scales, masks, strict=True)}
        tuner.zero_grad(set_to_none=True)
        loss = F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)
        loss.backward()  # type: ignore[no-untyped-call]
        tuner.step()
        with torch.no_grad():
            for mask in masks:
                mask.clamp_(0, 1)
        reporter.report(step, steps, loss)
    return [mask.detach() for mask in masks]
