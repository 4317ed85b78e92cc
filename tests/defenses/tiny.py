"""A ResNet of toy size, a digits data set with a white patch as its backdoor, and small helpers."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Generator, Tensor, nn

from trials.metrics import accuracy, success
from trials.models._shortcut import shortcut
from trials.types import DefenderView, Images, TriggerGoal

TARGET = 3


class Block(nn.Module):
    """conv, bn, relu, conv, bn, shortcut, relu."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        plain = stride == 1 and inside == outside
        self.shortcut = nn.Identity() if plain else shortcut(inside, outside, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class TinyNet(nn.Module):
    """Four stages of one block each, pooled into one linear layer."""

    def __init__(self, width: int = 8, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.layer1 = Block(width, width, 1)
        self.layer2 = Block(width, 2 * width, 2)
        self.layer3 = Block(2 * width, 2 * width, 1)
        self.layer4 = Block(2 * width, 4 * width, 2)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def patch(x: Tensor, index: Tensor) -> Tensor:
    """A white 2x2 square in the lower right corner."""
    x = x.clone()
    x[..., -2:, -2:] = 255
    return x


def true_trigger() -> Tensor:
    """The patch as an additive trigger (1, h, w)."""
    found = torch.zeros(1, 8, 8)
    found[..., -2:, -2:] = 1
    return found


def digits() -> tuple[Images, Images, Images]:
    """Training, trusted and test images, 8x8, one channel: 1,097, 200 and 500 of them."""
    bunch = load_digits()
    x = torch.tensor(bunch.images * 255 / 16).round().to(torch.uint8)[:, None]
    everything = Images(x, torch.tensor(bunch.target), 10)
    order = torch.randperm(len(x), generator=Generator().manual_seed(0))
    return (
        everything.take(order[:1097]),
        everything.take(order[1097:1297]),
        everything.take(order[1297:]),
    )


def measure(model: nn.Module, test: Images) -> tuple[float, float]:
    """CDA and ASR on the test images."""
    return accuracy(model, test), success(model, TriggerGoal(patch, TARGET).cases(test))


def noise(n: int = 40, classes: int = 4, size: int = 8) -> Images:
    """Random images whose labels mean nothing."""
    rng = Generator().manual_seed(5)
    x = torch.randint(0, 256, (n, 1, size, size), generator=rng, dtype=torch.uint8)
    return Images(x, torch.arange(n) % classes, classes)


def fresh_view(seed: int = 0, n: int = 40) -> DefenderView:
    """An untrained net (with statistics that have seen data) and random images; cheap."""
    torch.manual_seed(seed)
    model, images = TinyNet(width=4, classes=4), noise(n)
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(images.x.float() / 255)
    return DefenderView(model.eval(), images)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def run(repaired: Iterator[tuple[int, nn.Module]]) -> list[tuple[int, dict[str, Tensor]]]:
    """The recorded steps, each with the weights of that step."""
    return [(step, state(model)) for step, model in repaired]


class Calls:
    """Counts the forward passes of every TinyNet, by train or eval mode, while it is open."""

    def __enter__(self) -> "Calls":
        self.train = self.eval = 0
        self._usual = TinyNet.forward

        def forward(net: TinyNet, x: Tensor) -> Tensor:
            if net.training:
                self.train += 1
            else:
                self.eval += 1
            return self._usual(net, x)

        TinyNet.forward = forward  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        TinyNet.forward = self._usual  # type: ignore[method-assign]
