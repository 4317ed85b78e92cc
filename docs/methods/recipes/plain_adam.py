"""Plain Adam: training from scratch at a constant learning rate.

Source: Kingma & Ba 2015, arXiv:1412.6980; an example for the documentation.
Deviation: none.
"""

from collections.abc import Iterator

import torch
from torch import Generator, nn

from trials.recipes._loop import train
from trials.spec import PositiveFloat, PositiveInt
from trials.storage.checkpoint import Checkpointer
from trials.types import Poisoning


def fit(
    model: nn.Module,
    poisoning: Poisoning,
    rng: Generator,
    checkpoints: Checkpointer | None = None,
    /,
    *,
    epochs: PositiveInt = 10,
    lr: PositiveFloat = 0.003,
    batch: PositiveInt = 64,
) -> Iterator[tuple[int, int, float]]:
    """Train ``model`` in place; yield (steps done, steps in all, mean loss) after each epoch.

    Args:
        model: trained in place.
        poisoning: the training set, clean or poisoned.
        rng: shuffles and augments.
        checkpoints: keeps checkpoints, so that a training whose process was killed goes on.
        epochs: passes over the data.
        lr: learning rate, constant.
        batch: images a step.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr)
    return train(
        model,
        poisoning,
        rng,
        optimizer,
        lambda _: lr,
        checkpoints,
        epochs=epochs,
        batch=batch,
        precision="fp32",
    )
