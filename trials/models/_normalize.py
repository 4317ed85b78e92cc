"""Normalisation as a model's first layer, so that no path to the model can skip it."""

import torch
from torch import Tensor, nn

from trials.normalisation import CONSTANTS, Constants


class Normalize(nn.Module):
    """``(x - mean) / std`` by channel; the constants are buffers and never trained.

    Args:
        constants: a name in ``trials.normalisation``, or the constants themselves.
        saved: they stand in the model's state dict.
        grey: for a network of one channel, which gets the mean of the three.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, constants: str | Constants, *, saved: bool = True, grey: bool = False
    ) -> None:
        super().__init__()
        self.grey = grey
        mean, std = CONSTANTS[constants] if isinstance(constants, str) else constants
        self.register_buffer("mean", torch.tensor(mean), persistent=saved)
        self.register_buffer("std", torch.tensor(std), persistent=saved)

    def forward(self, x: Tensor) -> Tensor:
        found = (x - self.mean[:, None, None]) / self.std[:, None, None]
        return found.mean(1, keepdim=True) if self.grey else found
