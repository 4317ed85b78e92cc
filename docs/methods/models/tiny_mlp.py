"""Tiny MLP: one hidden layer on the pixels.

Source: an example for the documentation.
Deviation: none.
"""

from torch import Tensor, nn

from trials.models._normalize import Normalize
from trials.spec import PositiveInt


def build(classes: int, size: int, /, *, width: PositiveInt = 64) -> nn.Module:
    """An untrained model, its weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels.
        width: hidden units.
    """
    return TinyMLP(classes, size, width)


class TinyMLP(nn.Module):
    """Images (n, 3, size, size) in [0, 1] to logits (n, classes)."""

    def __init__(self, classes: int, size: int, width: int) -> None:
        super().__init__()
        self.normalize = Normalize("half")
        self.hidden = nn.Linear(3 * size * size, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        latent = self.hidden(self.normalize(x).flatten(1)).relu()
        logits: Tensor = self.head(latent)
        return logits
