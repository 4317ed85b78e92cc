"""Smaller versions of data sets: fewer images, of all classes or of some, and fewer pixels.

Source: Cui et al. 2019, 'Class-Balanced Loss Based on Effective Number of Samples',
arXiv:1901.05555: classes whose sizes fall exponentially.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from trials.types import Images


def averaged(x: Tensor, size: int) -> Tensor:
    """uint8 (n, c, size, size), means over squares of uint8 (n, c, h, h), some images at a time."""
    side = x.shape[-1] // size
    if side == 1:
        return x
    parts = (F.avg_pool2d(part.float(), side) for part in torch.split(x, 4096))
    return torch.cat([part.round().to(torch.uint8) for part in parts])


def first(y: Tensor, n: int, classes: int) -> Tensor:
    """Places of the first ``n`` images, the classes taking turns."""
    turn = torch.empty_like(y)
    for label in range(classes):
        of_class = (y == label).nonzero().flatten()
        turn[of_class] = torch.arange(len(of_class))
    return torch.argsort(turn * classes + y)[:n].sort().values


def long_tailed(images: Images, imbalance: float) -> Images:
    """The images of which class k of K keeps ``imbalance ** (k / (K - 1))``, the first ones and at
    least one.
    """
    if imbalance == 1:
        return images
    kept = []
    for label in range(images.classes):
        of_class = (images.y == label).nonzero().flatten()
        share = imbalance ** (label / max(1, images.classes - 1))
        kept.append(of_class[: max(1, round(share * len(of_class)))])
    return images.take(torch.cat(kept).sort().values)
