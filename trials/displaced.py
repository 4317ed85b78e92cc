"""Weights that are moved for one gradient and put back before the optimizer's step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.train import Loss


class Displaced:
    """All parameters of ``model``, which ``optimizer`` steps."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.parameters: list[Tensor] = list(model.parameters())
        self._kept: list[Tensor] = []
        optimizer.register_step_pre_hook(self._back)

    @torch.no_grad()
    def by(self, offsets: list[Tensor] | tuple[Tensor, ...]) -> None:
        """Add an offset to each parameter until the optimizer's next step, which starts from where
        they were: weights are neither copied nor computed back.
        """
        self._kept = [p.data for p in self.parameters]
        self._have(torch._foreach_add(self._kept, offsets))  # laid out in memory as the weights are

    def _back(self, *_: object) -> None:
        self._have(self._kept)
        self._kept = []

    def _have(self, weights: Sequence[Tensor]) -> None:
        for parameter, weight in zip(self.parameters, weights, strict=False):
            parameter.data = weight


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """BatchNorm uses the batch's statistics as in training, and leaves its running ones alone."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def toward(
    model: nn.Module, optimizer: torch.optim.Optimizer, given: nn.Module, radius: float, loss: Loss
) -> Loss:
    """The loss at theta + radius * (given - theta) / |given - theta|: path-aware minimisation.

    Source: Min et al. 2024, 'Uncovering, Explaining, and Mitigating the Superficial Safety of
    Backdoor Defense', arXiv:2410.09838.
    """
    displaced = Displaced(model, optimizer)
    pivot = [p.detach() for p in given.parameters()]

    def moved(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        apart = torch._foreach_sub(pivot, [p.detach() for p in displaced.parameters])
        distance = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(apart)))
        if float(distance) > 0:  # at the first step there is no direction
            displaced.by(torch._foreach_mul(apart, float(radius / distance)))
        return loss(student, x, y)

    return moved


def sharpness_aware(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    radius: float,
    adaptive: bool,
    loss: Loss,
) -> Loss:
    """The loss at the weights + e, where e leads up its gradient and has the length ``radius``; the
    running statistics move by the batch once.

    Source: Foret et al. 2021, 'Sharpness-Aware Minimization for Efficiently Improving
    Generalization', arXiv:2010.01412; the adaptive radius is Kwon et al. 2021, arXiv:2102.11600.
    """
    displaced = Displaced(model, optimizer)

    def moved(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        first = loss(student, x, y)
        found = torch.autograd.grad(first, displaced.parameters, materialize_grads=True)
        displaced.by(ascent(displaced.parameters, list(found), radius, adaptive))
        with statistics_kept(student):
            return loss(student, x, y)

    return moved


@torch.no_grad()
def ascent(
    weights: list[Tensor], gradients: list[Tensor], radius: float, adaptive: bool
) -> list[Tensor]:
    """The offset e: radius * g / |g|, or adaptive radius * w^2 g / | |w| g |, norms over all
    parameters together.
    """
    if not adaptive:
        return list(torch._foreach_mul(gradients, radius / _length(gradients)))
    sizes = torch._foreach_abs(weights)
    scaled = list(torch._foreach_mul(sizes, gradients))
    length = _length(scaled)
    torch._foreach_mul_(scaled, sizes)
    torch._foreach_mul_(scaled, radius / length)
    return scaled


def _length(parts: list[Tensor]) -> Tensor:
    """The norm of all parts together, at least 1e-12."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(parts)))
    return norm.clamp_min(1e-12)
