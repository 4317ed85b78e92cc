"""Poison by gradient matching: perturbations of clean-label images under which training on them
does what the attacker wants.

Source: Geiping et al. 2021, arXiv:2009.02276 (the descent, its schedule, restarts); Sleeper
Agent, Souri et al. 2022, arXiv:2106.08970, does the same, and trains its surrogate anew meanwhile.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._matching import Aim, augmented, in_batches
from trials.reporting import reporter
from trials.spec import SpecError

SHIFT = 0.125  # of the augmentation, unless it is given
ADAM_EPS = 1e-8  # Adam's own, small beside a sign and large beside a slope
_LEAST_EPS = 1e-30  # far above zero in fp32, so that a slope of zero stays a step of zero
_DROPS = (0.375, 0.625, 0.875)  # of the iterations, after which the rate falls to a tenth
_SCORED = 8  # fixed draws of the augmentation, on which restarts are compared

# the surrogates' aims, made anew against 8-bit poison (m, c, h, w), before the iteration given
Renew = Callable[[int, Tensor], Sequence[Aim]]


@dataclass(frozen=True, slots=True)
class Brew:
    """How perturbations are found.

    Attributes:
        epsilon: largest change of a pixel's value, in levels of 255.
        iterations: passes over all poisons, one step each.
        rate: of the descent, in levels of 255.
        schedule: the rate falls to a tenth after 3, 5 and 7 eighths of the iterations.
        start: ``normal`` (of standard deviation epsilon, clipped to it), ``uniform`` or ``zero``.
        optimizer: ``sign_adam``, ``adam``, ``pgd`` (steps along the sign) or ``momentum_pgd``.
        batch: images at a time; changes memory and speed, not the poison.
        shift: largest shift of the augmentation, a share of the width; 0 for none.
        flip: the augmentation mirrors images.
        precision: of the descent, ``fp32`` or ``bf16``; scores are of fp32.
        adam_eps: what ``adam`` and ``sign_adam`` add to the root of the slope's mean square.
    """

    epsilon: int
    iterations: int
    rate: float
    schedule: bool
    start: str
    optimizer: str
    batch: int
    shift: float
    flip: bool
    precision: str = "fp32"
    adam_eps: float = ADAM_EPS

    def poisons(
        self,
        aims: Sequence[Aim],
        x: Tensor,
        y: Tensor,
        rng: Generator,
        renew: Renew | None = None,
        times: int = 0,
    ) -> tuple[Tensor, list[float]]:
        """The images with their perturbations as 8-bit images, and the match before each iteration.

        Args:
            aims: of each surrogate; their matches are averaged.
            x: uint8 (m, c, h, w), the clean images, on the surrogates' device.
            y: int64 (m,), their labels.
            rng: on the CPU; draws the start and the augmentation.
            renew: gives other aims in the middle of the descent.
            times: how often, at even distances.
        """
        due = {self.iterations * k // (times + 1) for k in range(1, times + 1)} - {0}
        clean = x.float()
        delta = self._begin(x, rng).requires_grad_()
        optimizer, schedule = self._descent(delta)
        history = []
        low, high = (-clean).clamp(min=-self.epsilon), (255 - clean).clamp(max=self.epsilon)
        with reporter.untimed("the poison"), torch.no_grad():
            for step in range(self.iterations):
                if renew is not None and step in due:
                    aims = renew(step, _stored(clean + delta))
                loss, slope = self._slope(aims, clean + delta, y, self._draws(len(x), rng))
                delta.grad = slope if self.optimizer == "adam" else slope.sign()
                optimizer.step()
                schedule.step()
                delta.copy_(delta.clamp(low, high))
                history.append(loss)
                reporter.report(step + 1, self.iterations, loss)
            made = _stored(clean + delta)
        return made, torch.stack(history).tolist()

    def score(self, aims: Sequence[Aim], x: Tensor, y: Tensor, rng: Generator) -> float:
        """The mean match of 8-bit images over fixed draws of the augmentation; lower is better."""
        with torch.no_grad():
            draws = [self._draws(len(x), rng) for _ in range(_SCORED if self._augments else 1)]
            seen = [list(in_batches(self._seen(x.float(), d), y, self.batch)) for d in draws]
        matches = [aim.match(batches) for aim, batches in itertools.product(aims, seen)]
        return math.fsum(matches) / len(matches)

    @property
    def _augments(self) -> bool:
        return self.shift > 0 or self.flip

    def _slope(
        self, aims: Sequence[Aim], poisons: Tensor, y: Tensor, draws: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mean match of the surrogates, and its gradient in the poisons' levels."""
        with torch.enable_grad():
            poisons = poisons.detach().requires_grad_()
            seen = self._seen(poisons, draws)
            batches = list(in_batches(seen.detach(), y, self.batch))
            used = [aim.low for aim in aims] if self.precision == "bf16" else aims
            found = [aim.slope(batches) for aim in used]
            through = torch.stack([slope for _, slope in found]).mean(0)
            (slope,) = torch.autograd.grad(seen, poisons, through)
        return torch.stack([loss for loss, _ in found]).mean(), slope

    def _seen(self, poisons: Tensor, draws: Tensor) -> Tensor:
        """Poisons in levels of 255 as a training step sees them, in [0, 1]."""
        x = poisons / 255
        x = augmented(x, draws, self.shift, self.flip) if self._augments else x
        return x.contiguous(memory_format=torch.channels_last)

    def _draws(self, n: int, rng: Generator) -> Tensor:
        return torch.rand(n, 3, generator=rng)

    def _begin(self, x: Tensor, rng: Generator) -> Tensor:
        if self.start == "zero":
            return torch.zeros(x.shape, device=x.device)
        if self.start == "uniform":
            drawn = 2 * torch.rand(x.shape, generator=rng) - 1
        else:
            drawn = torch.randn(x.shape, generator=rng).clamp(-1, 1)
        return (self.epsilon * drawn).to(x.device)

    def _descent(
        self, delta: Tensor
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        optimizer: torch.optim.Optimizer
        if self.optimizer.endswith("adam"):
            optimizer = torch.optim.Adam([delta], self.rate, eps=self.adam_eps)
        else:
            momentum = 0.9 if self.optimizer == "momentum_pgd" else 0.0
            optimizer = torch.optim.SGD([delta], self.rate, momentum=momentum)
        drops = [math.floor(part * self.iterations) for part in _DROPS] if self.schedule else []
        return optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, 0.1)


def check_descent(
    attack: str, *, optimizer: str, adam_eps: float, augment: bool, shift: float
) -> None:
    """Raises SpecError for a setting that changes nothing beside others, so that a sweep would
    measure one poison twice, and for an ``adam_eps`` near what is zero in fp32.
    """
    if not augment and shift != SHIFT:
        raise SpecError(
            f"{attack}: shift = {shift:g} changes nothing with augment = false. Leave it out, or "
            "give attacks with and without augmentation in tables of their own."
        )
    if not optimizer.endswith("adam") and adam_eps != ADAM_EPS:
        raise SpecError(
            f'{attack}: adam_eps = {adam_eps:g} changes nothing with optimizer = "{optimizer}". '
            "Leave it out."
        )
    if adam_eps < _LEAST_EPS:
        raise SpecError(
            f"{attack}: adam_eps must be at least {_LEAST_EPS:g}, so that it is far from zero in "
            f"single precision; got {adam_eps:g}."
        )


def _stored(images: Tensor) -> Tensor:
    return images.round().to(torch.uint8)
