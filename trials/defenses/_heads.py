"""A new last linear layer in place of the given one, kept at its norm."""

import math

import torch
from torch import Generator, Tensor, nn

from trials.classifier import last_linear
from trials.spec import SpecError


def redraw(model: nn.Module, rng: Generator, defense: str) -> tuple[nn.Linear, Tensor]:
    """Draw weight and bias of the last linear layer anew, each uniform in +-1/sqrt(inputs),
    PyTorch's default.

    Returns:
        The layer, and a copy of its old weight (classes, d).

    Raises:
        SpecError: the layer is not trained, as one made of text embeddings; ``defense`` is the name
            in the message.
    """
    head = last_linear(model)
    if not isinstance(head.weight, nn.Parameter):
        raise SpecError(
            f"{defense} needs a last linear layer that is trained, and this model's is fixed: "
            "leave it out."
        )
    old = head.weight.detach().clone()
    bound = 1 / math.sqrt(head.in_features)
    with torch.no_grad():
        for parameter in (head.weight, head.bias):
            if parameter is not None:
                draws = torch.rand(parameter.shape, generator=rng, dtype=torch.float64)
                parameter.copy_((2 * draws - 1) * bound)
    return head, old


@torch.no_grad()
def rescale(head: nn.Linear, norm: Tensor) -> None:
    """Scale the layer's weight to the Frobenius norm ``norm``; a weight of zeros stays."""
    head.weight.mul_(norm / torch.linalg.vector_norm(head.weight).clamp_min(1e-12))
