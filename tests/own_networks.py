"""Networks as users have them: callables that take classes in many ways and return many things."""

import collections

import torch
from torch import Tensor, nn

Answer = collections.namedtuple("Answer", ["loss", "logits"])


class Tiny(nn.Module):
    """Two convolutions; its own ``normalize`` is a method."""

    def __init__(self, num_classes: int = 10, width: int = 8, act: str = "relu") -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU() if act == "relu" else nn.Tanh(),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.fc = nn.Linear(32 * width, num_classes)

    def normalize(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.body(self.normalize(x)))
        return logits


class Returning(Tiny):
    """Returns what a library's network may return, instead of a tensor."""

    def __init__(self, num_classes: int = 10, how: str = "named") -> None:
        super().__init__(num_classes, 2)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return {
            "named": Answer(None, logits),
            "mapping": {"logits": logits},
            "first": (logits, x),
            "nothing": {"scores": logits},
        }[self.how]  # type: ignore[return-value]


class Flat(nn.Sequential):
    """Two linear layers, and so no stages."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(nn.Flatten(), nn.Linear(768, 16), nn.ReLU(), nn.Linear(16, num_classes))


class Numbers(nn.Module):
    """Cannot be built on torch's device without memory."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * int(torch.tensor(1.0)), n_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def of_ten() -> nn.Module:
    return Tiny(10, 2)


def with_classes(classes: int, width: int = 2) -> nn.Module:
    return Tiny(classes, width)


def a_number(num_classes: int) -> int:
    return num_classes


def huge(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2**20, 2**20), nn.Linear(2**20, num_classes))


_ONE = Tiny(7, 2)


def the_same(num_classes: int) -> nn.Module:
    return _ONE
