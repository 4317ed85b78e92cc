"""The training steps that an attacker has, who may change some of the parameters only."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.types import Implant, TriggerGoal


class Intruder:
    """Takes the steps of the implant's ``control``: ``begin``, then the gradient, then ``step``.

    Attributes:
        optimizer: of the same kind and settings as the recipe's, with a state of its own. The
            caller sets its learning rate before each step, to that of the recipe.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        implant: Implant,
    ):
        control, goal = implant.control, implant.goal
        if control is None or not isinstance(goal, TriggerGoal):
            raise TypeError(f"{implant.name} controls the training without a trigger to show")
        alike: Callable[..., torch.optim.Optimizer] = type(optimizer)
        self.optimizer = alike([dict(g) for g in optimizer.param_groups])
        self._goal, self._part, self._pace = goal, control.part, control.pace
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
        x[:count] = self._goal.trigger(x[:count], places[:count])
        y[:count] = self._goal.target
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
