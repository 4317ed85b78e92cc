"""Two convolutions, each with its batch normalisation: a step is done in a few milliseconds.

Source: none; what convolutional networks have in common.
Deviation: none.
"""

from typing import Literal

from torch import Tensor, nn

from trials.models._normalize import Normalize
from trials.spec import PositiveInt


def build(
    classes: int, size: int, /, *, width: PositiveInt = 8, norm: Literal["cifar10", "imagenet", "half"] = "cifar10"
) -> nn.Module:
    """An untrained model.

    Args:
        classes: number of classes.
        size: side of the images in pixels; any will do.
        width: channels of the first convolution; the second has twice as many.
        norm: constants of the normalisation layer; half maps [0, 1] to [-1, 1].
    """
    return _Net(classes, width, norm)


class _Net(nn.Module):
    def __init__(self, classes: int, width: int, norm: str) -> None:
        super().__init__()
        self.normalize = Normalize(norm)
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.fc = nn.Linear(32 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(self.normalize(x)))
        return logits
