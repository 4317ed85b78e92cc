"""Normalisation as a model's first layer, so that no path to the model can skip it."""

import torch
from torch import Tensor, nn

from trials.normalisation import CONSTANTS


class Normalize(nn.Module):
    """``(x - mean) / std`` by channel; the constants are buffers, saved with the model and never
    trained.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, constants: str) -> None:
        super().__init__()
        mean, std = CONSTANTS[constants]
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean[:, None, None]) / self.std[:, None, None]
