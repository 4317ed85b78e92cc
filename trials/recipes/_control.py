"""The training steps that an attacker has, who may change some of the parameters only."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.types import Backdoor, Control


class Intruder:
    """Takes ``control``'s steps: ``begin``, then the gradient, then ``step``.

    Attributes:
        optimizer: of the same kind and settings as the recipe's, with a state of its own. The
            caller sets its learning rate before each step, to that of the recipe.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        backdoor: Backdoor,
        control: Control,
    ):
        alike: Callable[..., torch.optim.Optimizer] = type(optimizer)
        self.optimizer = alike([dict(g) for g in optimizer.param_groups])
        self._backdoor, self._part, self._pace = backdoor, control.part, control.pace
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self._norms = norms if control.freeze_bn else []
        self._masked = [
            (p, torch.empty_like(p, dtype=torch.bool, requires_grad=False).copy_(mask))
            for p, mask in zip(model.parameters(), control.masks(model), strict=True)
        ]

    def begin(self, x: Tensor, y: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """The batch, uint8, with the trigger on its first images: batches are in random order."""
        for norm in self._norms:
            norm.track_running_stats = False
        count = max(1, round(self._part * len(x)))
        x, y = x.clone(), y.clone()
        x[:count] = self._backdoor.trigger(x[:count], places[:count])
        y[:count] = self._backdoor.target
        return x, y

    @torch.no_grad()
    def step(self) -> None:
        """The optimizer's step within the masks; momentum and weight decay change nothing outside
        either.
        """
        for group in self.optimizer.param_groups:
            group["lr"] *= self._pace
        before = [p.clone() for p, _ in self._masked]
        for p, mask in self._masked:
            if p.grad is not None:
                p.grad.mul_(mask)
        self.optimizer.step()
        for (p, mask), old in zip(self._masked, before, strict=True):
            p.copy_(torch.where(mask, p, old))
        for norm in self._norms:
            norm.track_running_stats = True
