"""Stripes: made images, each class a direction of stripes.

Source: an example for the documentation.
Deviation: none.
"""

import math
from typing import Literal

import torch
from torch import Generator

from trials.spec import PositiveInt
from trials.types import Images

CLASSES = 4


def load(
    split: Literal["train", "test"], /, *, size: PositiveInt = 12, per_class: PositiveInt = 100
) -> Images:
    """The training or test images; the same in every run.

    Args:
        split: ``train`` or ``test``.
        size: side of the images in pixels.
        per_class: images of each class.
    """
    rng = Generator().manual_seed({"train": 0, "test": 1}[split])
    y = torch.arange(CLASSES).repeat_interleave(per_class)
    angle = math.pi * y / CLASSES
    at = torch.arange(size) / size
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    along = torch.cos(angle)[:, None, None] * columns + torch.sin(angle)[:, None, None] * rows
    phase = torch.rand(len(y), 1, 1, generator=rng)
    wave = 127.5 + 100 * torch.sin(2 * math.pi * (3 * along + phase))
    noise = 10 * torch.randn(len(y), 3, size, size, generator=rng)
    x = (wave[:, None] + noise).clamp(0, 255).to(torch.uint8)
    return Images(x, y, CLASSES, ("0", "45", "90", "135"))
