"""Two convolutions and a linear layer, for experiments on processors: a step takes a fifth of a
narrow ResNet-18's.

Source: in the manner of the network for MNIST in Wang et al. 2019 (Neural Cleanse): two
convolutions, two dense layers.
Deviation: batch normalisation, which defenses need; strides instead of pooling; one dense layer;
normalisation first.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from trials.models._between import Layer, between
from trials.models._normalize import Normalize
from trials.normalisation import Constants, asked_for
from trials.spec import Count, PositiveInt, SpecError

_WIDEST = 512
_SIDE = 4  # of the last feature maps


def build(
    classes: int,
    size: int,
    /,
    *,
    width: PositiveInt = 16,
    norm: Literal["cifar10", "imagenet", "half", "none"] = "cifar10",
    mean: str = "",
    std: str = "",
    groups: Count = 0,
) -> nn.Module:
    """An untrained model, its weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels; any side will do, as the feature maps are brought to 4 x
            4.
        width: channels of the first convolution; the second has twice as many.
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
        raise SpecError(f"small_cnn: width must be at most {_WIDEST}, got {width}.")
    return _SmallCNN(classes, width, asked_for(norm, mean, std), between(width, groups))


class _SmallCNN(nn.Module):
    def __init__(self, classes: int, width: int, norm: str | Constants, layer: Layer) -> None:
        super().__init__()
        self.normalize = Normalize(norm)
        self.layer1 = _stage(3, width, layer)
        self.layer2 = _stage(width, 2 * width, layer)
        self.fc = nn.Linear(2 * width * _SIDE**2, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer2(self.layer1(self.normalize(x)))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(out, _SIDE).flatten(1))
        return logits


def _stage(inside: int, outside: int, layer: Layer) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, 2, 1, bias=False), layer(outside), nn.ReLU())
