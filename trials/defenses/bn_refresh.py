"""BatchNorm refresh: the weights stay, only the running statistics move to the trusted images.

Source: a control of ours; the first public code of Lukas & Kerschbaum 2023, arXiv:2305.09671, never
steps its optimizer in Fine-Pruning, so that this is what was left of its tuning.
Deviation: none; batches are augmented as in the other defenses, so that the drift is the one that
they see too.
"""

from collections.abc import Iterator

import torch
from torch import Generator, nn

from trials.defenses._start import fits, start
from trials.reporting import reporter
from trials.spec import PositiveInt
from trials.types import DefenderView

FAMILY = "control"
NEEDS = frozenset({"norms"})


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 1000,
    batch: PositiveInt = 128,
) -> Iterator[tuple[int, nn.Module]]:
    """Forward ``steps`` batches in train mode, without a gradient.

    Args:
        steps: batches seen.
        batch: images a batch.

    Raises:
        SpecError: the model has no batch normalisation.
    """
    fits("bn_refresh", view, NEEDS)
    model, batches = start(view, rng, batch)
    for step in range(1, steps + 1):
        x, _ = next(batches)
        model.train()
        with torch.no_grad():
            model(x)
        reporter.report(step, reporter.upto(steps, every))
        if step % every == 0 or step == steps:
            yield step, model
