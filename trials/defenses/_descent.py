"""What the gradient defenses share: a learning rate that falls, a gradient that is clipped, and
distillation.

A run whose rate falls is judged at its end: a point halfway down has not won its accuracy back yet,
and stopping there is not what a shorter run would give. Such a run yields its last model alone.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trials.train import Loss, cross_entropy, frozen, full, tune

Schedule = Literal["constant", "cosine"]
TEMPERATURE = 2.0  # of the soft outputs


def descend(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    steps: int,
    every: int,
    loss: Loss = cross_entropy,
    *,
    schedule: Schedule = "constant",
    clip: float = 0.0,
    after: Callable[[nn.Module], None] | None = None,
    freeze_bn: bool = False,
    only_end: bool = False,
) -> Iterator[tuple[int, nn.Module]]:
    """``trials.train.tune`` with a schedule and clipping; yields the last model alone where the
    rate falls.

    Args:
        schedule: ``cosine`` lets the learning rate fall to 0 over ``steps`` along half a cosine,
            ``constant`` keeps it.
        clip: largest norm of the whole gradient in a step; 0 clips nothing.
        only_end: yield the last model alone under a constant rate too.
    """
    if clip:
        optimizer.register_step_pre_hook(lambda *_: clipped(optimizer, clip))
    if schedule == "cosine":
        fall(optimizer, steps)
    stop = steps if schedule == "cosine" or only_end else every
    yield from tune(model, batches, optimizer, steps, stop, loss, after, freeze_bn)


def fall(optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Set each learning rate before step t = 0, 1, ... to its first value times
    (1 + cos(pi t / steps)) / 2.
    """
    first, taken = [group["lr"] for group in optimizer.param_groups], 0

    def lower(*_: object) -> None:
        nonlocal taken
        for group, lr in zip(optimizer.param_groups, first, strict=True):
            group["lr"] = lr * (1 + math.cos(math.pi * min(taken, steps) / steps)) / 2
        taken += 1

    optimizer.register_step_pre_hook(lower)


def clipped(optimizer: torch.optim.Optimizer, largest: float) -> None:
    """Scale all gradients of the optimizer's parameters together, so that their norm is at most
    ``largest``.
    """
    groups = (group["params"] for group in optimizer.param_groups)
    nn.utils.clip_grad_norm_(list(itertools.chain.from_iterable(groups)), largest)


def divergence(logits: Tensor, given: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """T^2 * KL(softmax(given / T) || softmax(logits / T)) of each image: (n, classes) to (n,)."""
    mine, theirs = (F.log_softmax(full(each) / temperature, 1) for each in (logits, given))
    return temperature**2 * F.kl_div(mine, theirs, reduction="none", log_target=True).sum(1)


class CleanLoss:
    """(1 - share) * cross-entropy with the labels + share * divergence from the given model, on
    clean images.

    Args:
        given: the given model; the loss keeps a frozen copy in eval mode.
        share: of the divergence, in [0, 1]; at 0 the given model is not asked.
        temperature: of the soft outputs.
        smoothing: share of a label that is spread evenly over the other classes.
    """

    def __init__(
        self,
        given: nn.Module,
        share: float,
        temperature: float = TEMPERATURE,
        smoothing: float = 0.0,
    ) -> None:
        self._given = frozen(given) if share else None
        self._share, self._temperature, self._smoothing = share, temperature, smoothing

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self.of(model(x), x, y)

    def of(self, logits: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of ``logits`` (n, classes) for clean images ``x`` in [0, 1] with labels
        ``y``.
        """
        return (
            self._labels(logits, y, "mean")
            if self._given is None
            else self.each(logits, x, y).mean()
        )

    def each(self, logits: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The loss of each image: (n,)."""
        if self._given is None:
            return self._labels(logits, y, "none")
        with torch.no_grad():
            given = self._given(x)
        soft = divergence(logits, given, self._temperature)
        return (
            soft
            if self._share == 1
            else (1 - self._share) * self._labels(logits, y, "none") + self._share * soft
        )

    def _labels(self, logits: Tensor, y: Tensor, reduction: str) -> Tensor:
        # PyTorch's is over all classes
        spread = self._smoothing * logits.shape[1] / (logits.shape[1] - 1)
        return F.cross_entropy(full(logits), y, reduction=reduction, label_smoothing=spread)
