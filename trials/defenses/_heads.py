"""A new head in place of the given one, kept at its norm."""

import math

import torch
from torch import Generator, Tensor

from trials.classifier import Head


def redraw(head: Head, rng: Generator) -> Tensor:
    """Draw weight and bias of the head anew, each uniform in +-1/sqrt(inputs), PyTorch's default.

    Returns:
        A copy of its old weight, (classes, d) or that of a convolution.
    """
    old = head.weight.detach().clone()
    bound = 1 / math.sqrt(head.weight[0].numel())
    with torch.no_grad():
        for parameter in (head.weight, head.bias):
            if parameter is not None:
                draws = torch.rand(parameter.shape, generator=rng, dtype=torch.float64)
                parameter.copy_((2 * draws - 1) * bound)
    return old


@torch.no_grad()
def rescale(head: Head, norm: Tensor) -> None:
    """Scale the layer's weight to the Frobenius norm ``norm``; a weight of zeros stays."""
    head.weight.mul_(norm / torch.linalg.vector_norm(head.weight).clamp_min(1e-12))
