"""The paper's training from scratch: 120 epochs of SGD with a cosine schedule.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Table IV.
Deviation: the last epoch is kept, never the one that is best on test images; a smaller last batch
is dropped.
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Generator, nn

from trials.recipes._loop import train
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveInt
from trials.storage.checkpoint import Checkpointer
from trials.types import Poisoning


def fit(
    model: nn.Module,
    poisoning: Poisoning,
    rng: Generator,
    checkpointer: Checkpointer | None = None,
    /,
    *,
    epochs: PositiveInt = 120,
    lr: PositiveFloat = 0.1,
    weight_decay: NonNegativeFloat = 5e-4,
    batch: PositiveInt = 128,
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, int, float]]:
    """Train ``model`` in place; yield (steps done, steps in all, mean loss) after each epoch.

    Args:
        model: trained in place.
        poisoning: what it is trained on.
        rng: shuffles and augments.
        checkpointer: keeps checkpoints and has the last one.
        epochs: passes over the data, and the length of the cosine.
        lr: learning rate of the first epoch.
        weight_decay: L2 penalty on all parameters.
        batch: images a step.
        precision: fp32, bf16 (autocast), or auto: bf16 on GPUs that have it.
    """
    optimizer = torch.optim.SGD(
        model.parameters(), lr, momentum=0.9, weight_decay=weight_decay, foreach=True
    )

    def rate(epoch: float) -> float:
        return lr * (1 + math.cos(math.pi * int(epoch) / epochs)) / 2

    return train(
        model,
        poisoning,
        rng,
        optimizer,
        rate,
        checkpointer,
        epochs=epochs,
        batch=batch,
        precision=precision,
    )
