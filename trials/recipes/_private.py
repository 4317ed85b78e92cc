"""Gradients of single images, clipped and noised: DP-SGD, with Opacus for the gradients and the
accountant.
"""

import functools
import importlib.util
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.recipes._countermeasure import Countermeasure
from trials.spec import SpecError

# Renyi's; each gives a bound. Opacus's own has ninety between whole numbers, which take seconds
_ORDERS = [1.25, 1.5, 1.75, *range(2, 64)]


class Private(Countermeasure):
    """Each image moves the model by a bounded and noised amount.

    Batches are drawn as the accountant assumes: each row enters each batch by a draw of its own.

    Args:
        model: to be trained; its layers get hooks, until ``close``.
        clip: largest norm of an image's gradient, over all parameters.
        epsilon: of the privacy that the whole training has.
        delta: of the same.
        accountant: Opacus's, by its name there.
        epochs: passes over the data.
    """

    def __init__(
        self,
        model: nn.Module,
        clip: float,
        epsilon: float,
        delta: float,
        accountant: str,
        epochs: int,
    ) -> None:
        from opacus.grad_sample import GradSampleModule  # noqa: PLC0415 - an extra

        self._clip, self._epochs, self._expected, self.noise = clip, epochs, 1, 0.0
        self._privacy = {"target_epsilon": epsilon, "target_delta": delta, "accountant": accountant}
        # Opacus's own rules for convolutions are wrong where channels come last; functorch's hold
        self._hooked: Any = GradSampleModule(model, loss_reduction="mean", force_functorch=True)
        self._hooked.disable_hooks()

    def batches(self, index: Tensor, size: int, rng: Generator) -> Iterator[Tensor]:
        """Sets the noise, once it is known how many rows there are and how many are in a batch."""
        self._expected = min(size, len(index))
        share, steps = sampling(len(index), size, self._epochs)
        self.noise = noise_multiplier(share, steps, **self._privacy)
        while True:
            drawn = torch.rand(len(index), generator=rng) < share
            yield index[drawn.to(index.device)]

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, rng: Generator) -> Tensor:
        if not len(x):  # drawn once in a while from few rows; its step is noise alone
            return torch.stack([p.sum() for p in model.parameters()]).sum() * 0
        self._hooked.enable_hooks()
        # of images that take gradients, as the first layer's hook else warns
        return F.cross_entropy(self._hooked(x.requires_grad_()), y)

    @torch.no_grad()
    def gradient(self, model: nn.Module, rng: Generator) -> None:
        self._hooked.disable_hooks()
        parameters = list(model.parameters())
        each = [getattr(p, "grad_sample", None) for p in parameters]
        known = [g.flatten(1) for g in each if g is not None]
        factor = torch.zeros(0)
        if known:
            norms = torch.stack([g.norm(dim=1) for g in known]).norm(dim=0)
            factor = (self._clip / norms.clamp(min=1e-12)).clamp(max=1)
        for parameter, own in zip(parameters, each, strict=True):
            noise = torch.randn(parameter.shape, generator=rng).to(parameter.device)
            total = self.noise * self._clip * noise
            if own is not None:
                total += torch.tensordot(factor, own, 1)
            parameter.grad = total.to(memory_format=torch.preserve_format) / self._expected
            parameter.grad_sample = None  # type: ignore[attr-defined]

    def close(self) -> None:
        """Take the hooks off the model."""
        self._hooked.to_standard_module()


def sampling(rows: int, size: int, epochs: int) -> tuple[float, int]:
    """Share of the rows in a batch, and steps of the training."""
    expected = min(size, rows)
    return expected / rows, epochs * (rows // expected)


def require_private_budget(
    rows: int, size: int, epochs: int, epsilon: float, delta: float, accountant: str
) -> None:
    """Raises SpecError for a privacy that no noise gives to so many rows."""
    if delta >= 1 / rows:
        raise SpecError(
            f"dp_sgd: delta must be below one over the number of rows, {1 / rows:.2g} for "
            f"{rows:,}; got {delta:g}."
        )
    privacy = {"target_epsilon": epsilon, "target_delta": delta, "accountant": accountant}
    try:
        noise_multiplier(*sampling(rows, size, epochs), **privacy)
    except ValueError as problem:
        least = math.log(1 / delta) / _ORDERS[-1]
        raise SpecError(
            f"dp_sgd: no noise gives epsilon = {epsilon:g} with delta = {delta:g}. Raise epsilon "
            f"(rdp counts none below about {least:.1g}), or lower epochs."
        ) from problem


@functools.lru_cache(64)
def noise_multiplier(share: float, steps: int, **privacy: Any) -> float:
    """Standard deviation of the noise, in clips, for so many steps on batches of that share."""
    from opacus.accountants.utils import get_noise_multiplier  # noqa: PLC0415 - an extra

    orders = {"alphas": _ORDERS} if privacy["accountant"] == "rdp" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the best order is the largest
        found = get_noise_multiplier(sample_rate=share, steps=steps, **privacy, **orders)
    return float(found)


def require_private(model: nn.Module) -> None:
    """Raises SpecError for a model that mixes images, and where Opacus is not installed."""
    if importlib.util.find_spec("opacus") is None:
        raise SpecError('dp_sgd needs Opacus: pip install "poisonsweep[dp]".')
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        raise SpecError(
            "dp_sgd needs a model without batch normalisation, which mixes the images of a batch: "
            'choose one, such as model = { name = "resnet18", groups = 8 }.'
        )
