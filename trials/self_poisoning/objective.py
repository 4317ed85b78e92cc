"""The losses of a copy's training steps, one after the other, as its scheme has them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trials.displaced import sharpness_aware
from trials.self_poisoning.elastic import Elastic
from trials.self_poisoning.schemes import RADIUS, STIFFNESS, Scheme
from trials.train import Loss


class Objective:
    """The loss of the copy's next step, each time that it is called.

    Args:
        scheme: how the copy is trained.
        plain: loss of a batch as such.
        model: the copy.
        optimizer: steps it; what the weights are held by lies in its state.
        steps: of a round.
        done: steps of all rounds that were taken before.
        learned: images of the poisoned set and their labels, by which it is told what the trigger
            needs.
    """

    def __init__(
        self,
        scheme: Scheme,
        plain: Loss,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: int,
        done: int,
        learned: Callable[[], tuple[Tensor, Tensor]],
    ) -> None:
        self._scheme, self._plain, self._learned = scheme, plain, learned
        self._steps, self._next = steps, done
        self._sharp = sharpness_aware(model, optimizer, RADIUS, adaptive=True, loss=plain)
        self._elastic = Elastic(optimizer, STIFFNESS)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        place = self._next % self._steps
        self._next += 1
        if self._scheme.sharp(place / self._steps):
            return self._sharp(model, x, y)
        if not self._scheme.elastic or self._stamped(place):
            return self._plain(model, x, y)
        if self._stamped(place - 1):
            self._elastic.hold(model, *self._learned())
        return self._plain(model, x, y) + self._elastic.pull(model)

    def _stamped(self, place: int) -> bool:
        return self._scheme.stamped(place / self._steps)
