"""A live network and live images as a session of Python has them, and a sweep of seconds."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from trials import catalog
from trials.types import Images

SPEC: dict[str, Any] = {
    "flip": False,
    "tuning": {"copies": 1, "record_every": 10, "delta": 0.9},
    "self_poisoning": {
        "scheme": "labels",
        "steps": 100,
        "batch": 32,
        "lr": 0.05,
        "share": 0.2,
        "reach": 0.3,
    },
    "defenses": [
        {"name": "fst", "profile": "small", "limit": 1, "fixed": {"steps": 40, "lr": 0.02}}
    ],
    "compute": {"device": "cpu", "workers": 1},
}


class Net(nn.Module):
    """Two of its layers have one weight, and its first is frozen."""

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, 2, 1)
        self.body = nn.Sequential(
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.one = nn.Linear(256, 256, bias=False)
        self.two = nn.Linear(256, 256, bias=False)
        self.two.weight = self.one.weight
        self.head = nn.Linear(256, classes)
        self.first.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        z = self.body(self.first(x))
        logits: Tensor = self.head(z + self.two(self.one(z).relu()))
        return logits


def digits(split: str = "train") -> Images:
    images: Images = catalog.find("datasets", "digits")(split)
    return images


def learned(network: nn.Module, mean: float = 0.0, std: float = 1.0) -> nn.Module:
    """The network after a hundred steps on digits."""
    images = digits()
    channels = next(iter(network.parameters())).shape[1]
    x, y = (images.x[:, :channels].float() / 255 - mean) / std, images.y
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), 2e-3)
    for _ in range(100):
        batch = torch.randint(len(y), (32,), generator=rng)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def trusted(n: int = 300, channels: int = 3) -> Dataset[Any]:
    """Digits as floats in [0, 1]."""
    images = digits()
    return TensorDataset(images.x[:n, :channels].float() / 255, images.y[:n])
