"""Far from class: the distance of an image from the mean of its class.

Source: none, an example.
Deviation: none.
"""

import torch
from torch import Generator

from trials.spec import PositiveFloat
from trials.views import DataView, SampleScores


def score(view: DataView, rng: Generator, /, *, power: PositiveFloat = 2.0) -> SampleScores:
    """Distances from the trusted images' means.

    Args:
        view: the training set and the trusted images.
        rng: not used.
        power: of the distance.
    """
    x, means = view.train.x.float().flatten(1), []
    for label in range(view.train.classes):
        means.append(view.trusted.x[view.trusted.y == label].float().flatten(1).mean(0))
    return SampleScores((x - torch.stack(means)[view.train.y]).norm(dim=1) ** power)
