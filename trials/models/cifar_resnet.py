"""The ResNets of 20 to 110 layers for 32-pixel images, with shortcuts that have no weights.

Source: He et al. 2016, arXiv:1512.03385, section 4.2 and option A: three stages of 16, 32 and 64
channels; 269,722 parameters at 20 layers and ten classes. Layers are named as in the public
checkpoints of these networks.
Deviation: none in the layers; normalisation is the first one.
"""

import re
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from trials.models._normalize import Normalize
from trials.normalisation import Constants, asked_for
from trials.spec import PositiveInt, SpecError
from trials.weights.names import Shapes

_BLOCK = re.compile(r"(?:^|\.)layer1\.(\d+)\.conv1\.weight$")
_DEEPEST = 1202  # the paper's deepest
_WIDEST = 512


def build(
    classes: int,
    size: int,
    /,
    *,
    depth: PositiveInt = 20,
    width: PositiveInt = 16,
    norm: Literal["cifar10", "imagenet", "half", "none"] = "cifar10",
    mean: str = "",
    std: str = "",
) -> nn.Module:
    """An untrained model, its weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels; any side will do, the last pooling takes the mean of
            what is left.
        depth: layers with weights, six a block of each stage and two more: 20, 32, 44, 56, 110.
        width: channels of the first stage; the later stages have 2 and 4 times as many.
        norm: constants of the normalisation layer; half maps [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.

    Raises:
        SpecError: a depth that is not 6 n + 2 or above 1,202, or a width of more than 512.
    """
    if depth % 6 != 2 or not 8 <= depth <= _DEEPEST:
        raise SpecError(
            f"cifar_resnet: depth must be 6 n + 2, as 20, 32, 44, 56 or 110, and at most "
            f"{_DEEPEST}, got {depth}."
        )
    if width > _WIDEST:
        raise SpecError(f"cifar_resnet: width must be at most {_WIDEST}, got {width}.")
    return _CifarResNet(classes, (depth - 2) // 6, width, asked_for(norm, mean, std))


def settings_in(shapes: Shapes) -> dict[str, int]:
    """Depth and width of the network whose weights have these names and shapes."""
    found = {int(m[1]): shapes[k][0] for k in shapes if (m := _BLOCK.search(k)) and shapes[k]}
    return {"depth": 6 * len(found) + 2, "width": min(found.values())} if found else {}


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride = stride
        self.added = (after - before) // 2  # channels of zeros, on either side

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            kept = F.pad(kept, (0, 0, 0, 0, self.added, self.added))
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + kept)


class _CifarResNet(nn.Module):
    def __init__(self, classes: int, blocks: int, width: int, norm: str | Constants) -> None:
        super().__init__()
        self.normalize = Normalize(norm)
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1, blocks)
        self.layer2 = _stage(width, 2 * width, 2, blocks)
        self.layer3 = _stage(2 * width, 4 * width, 2, blocks)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(self.normalize(x))))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


def _stage(before: int, after: int, stride: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(
        _Block(before, after, stride), *(_Block(after, after, 1) for _ in range(blocks - 1))
    )
