"""ResNet-18 for small images whose blocks normalise before they convolve, as public boards of
backdoors have it.

Source: He et al. 2016, arXiv:1603.05027, figure 4e: in each residual branch normalisation and
activation come before the convolution, and a shortcut with weights starts behind the first of them.
11,171,146 parameters at width 64 and ten classes. Layers are named as in public checkpoints of
CIFAR-10.
Deviation: the paper normalises once more before the last pooling; the networks that go by this name
in public checkpoints do not, and their weights are to fit.
"""

from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from trials.models._between import Layer, between
from trials.models._normalize import Normalize
from trials.models._shortcut import shortcut
from trials.normalisation import Constants, asked_for
from trials.spec import Count, PositiveInt, SpecError

_WIDEST = 512


def build(
    classes: int,
    size: int,
    /,
    *,
    width: PositiveInt = 64,
    norm: Literal["cifar10", "imagenet", "half", "none"] = "cifar10",
    mean: str = "",
    std: str = "",
    groups: Count = 0,
) -> nn.Module:
    """An untrained model, its weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels; any side will do, the last pooling takes the mean of
            what is left.
        width: channels of the first stage; the later stages have 2, 4 and 8 times as many.
        norm: constants of the normalisation layer; half maps [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.
        groups: of channels that are normalised together, in each image by itself, which divide
            width; 0 for batch normalisation.

    Raises:
        SpecError: a width of more than 512, or one that the groups do not divide.
    """
    if width > _WIDEST:
        raise SpecError(f"preact_resnet18: width must be at most {_WIDEST}, got {width}.")
    return _PreActResNet18(classes, width, asked_for(norm, mean, std), between(width, groups))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int, layer: Layer) -> None:
        super().__init__()
        self.bn1 = layer(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn2 = layer(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(shortcut(before, after, stride))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        kept = x if self.shortcut is None else self.shortcut(active)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active)))) + kept
        return out


class _PreActResNet18(nn.Module):
    def __init__(self, classes: int, width: int, norm: str | Constants, layer: Layer) -> None:
        super().__init__()
        self.normalize = Normalize(norm)
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        block = partial(_Block, layer=layer)
        self.layer1 = nn.Sequential(block(width, width, 1), block(width, width, 1))
        self.layer2 = nn.Sequential(block(width, 2 * width, 2), block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(block(2 * width, 4 * width, 2), block(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(block(4 * width, 8 * width, 2), block(8 * width, 8 * width, 1))
        self.linear = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(self.normalize(x))))))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits
