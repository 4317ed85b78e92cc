"""Normalisation as a model's first layer, so that no path to the model can skip it."""

import torch
from torch import Tensor, nn

_CONSTANTS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


class Normalize(nn.Module):
    """``(x - mean) / std`` by channel; the constants are buffers, saved with the model and never trained."""

    mean: Tensor
    std: Tensor

    def __init__(self, constants: str) -> None:
        super().__init__()
        mean, std = _CONSTANTS[constants]
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean[:, None, None]) / self.std[:, None, None]
