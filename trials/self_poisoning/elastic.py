"""Elastic weight consolidation: what a task that was learned first needs is held where it is while
another is learned.

Source: Kirkpatrick et al. 2017, 'Overcoming catastrophic forgetting in neural networks',
arXiv:1612.00796.
Deviation: how much a weight counts is the mean squared gradient of the loss with the given labels,
not with labels drawn from the model.
"""

import torch
from torch import Tensor, nn

from trials.train import cross_entropy

ANCHOR, IMPORTANCE = "anchor", "importance"


class Elastic:
    """Holds the parameters that ``optimizer`` steps.

    What it knows of them lies in the optimizer's state, so that a checkpoint has it too.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, stiffness: float) -> None:
        self._optimizer, self._stiffness = optimizer, stiffness

    def hold(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        """Hold the parameters where they are, each as far as the images' loss depends on it.

        Args:
            model: in train mode, and so it stays; what it does in eval mode is looked at.
            x: float (n, c, h, w) in [0, 1], images of the task that was learned.
            y: int64 (n,).
        """
        model.eval()
        held = list(model.parameters())
        sums = [torch.zeros_like(p) for p in held]
        for i in range(len(y)):
            loss = cross_entropy(model, x[i : i + 1], y[i : i + 1])
            gradients = torch.autograd.grad(loss, held, materialize_grads=True)
            torch._foreach_addcmul_(sums, gradients, gradients)
        model.train()
        for parameter, total in zip(held, sums, strict=True):
            state = self._optimizer.state[parameter]
            state[ANCHOR], state[IMPORTANCE] = parameter.detach().clone(), total / len(y)

    def pull(self, model: nn.Module) -> Tensor:
        """A scalar: the squared distance of each parameter from where it is held, times its
        importance, in all, times the stiffness.
        """
        states = [(p, self._optimizer.state[p]) for p in model.parameters()]
        parts = [(s[IMPORTANCE] * (p - s[ANCHOR]).square()).sum() for p, s in states]
        return self._stiffness * torch.stack(parts).sum()
