"""ResNet-18 for small images: the first convolution keeps the size, and there is no max-pooling.

Source: He et al. 2016, arXiv:1512.03385, in the CIFAR form of Lukas & Kerschbaum 2023, Table IV:
11,173,962 parameters at width 64 and ten classes.
Deviation: none in the layers; normalisation is the first one.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from trials.models._normalize import Normalize
from trials.models._shortcut import shortcut
from trials.normalisation import Constants, asked_for
from trials.spec import PositiveInt, SpecError

_WIDEST = 512  # 715 million parameters


def build(
    classes: int,
    size: int,
    /,
    *,
    width: PositiveInt = 64,
    norm: Literal["cifar10", "imagenet", "half", "none"] = "cifar10",
    mean: str = "",
    std: str = "",
) -> nn.Module:
    """An untrained model, its weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels; any side will do, the last pooling takes the mean of
            what is left.
        width: channels of the first block; the later blocks have 2, 4 and 8 times as many.
        norm: constants of the normalisation layer; half maps [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.

    Raises:
        SpecError: a width of more than 512.
    """
    if width > _WIDEST:
        raise SpecError(f"resnet18: width must be at most {_WIDEST}, got {width}.")
    return _ResNet18(classes, width, asked_for(norm, mean, std))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(shortcut(before, after, stride), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + kept)


class _ResNet18(nn.Module):
    def __init__(self, classes: int, width: int, norm: str | Constants) -> None:
        super().__init__()
        self.normalize = Normalize(norm)
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(_Block(width, width, 1), _Block(width, width, 1))
        self.layer2 = nn.Sequential(_Block(width, 2 * width, 2), _Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(
            _Block(2 * width, 4 * width, 2), _Block(4 * width, 4 * width, 1)
        )
        self.layer4 = nn.Sequential(
            _Block(4 * width, 8 * width, 2), _Block(8 * width, 8 * width, 1)
        )
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(self.normalize(x))))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        logits: Tensor = self.fc(out.mean((2, 3)))
        return logits
