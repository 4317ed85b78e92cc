"""Fast training that leaves out rows whose gradients are like no other's: EPIC.

Source: Yang, Liu, Mirzasoleiman 2022, arXiv:2210.09671, with the settings of its code for gradient
matching (the facts alone): the gradient in the last layer, medoids of each class, what is alone in
its cluster goes.
Deviation: as many steps an epoch as before rows were left out, so the schedule, that of ``fast``,
stays. A class whose rows are all alone keeps them.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.recipes._fast import Fast
from trials.recipes._rows import Epic, check_begins, check_medoids
from trials.spec import Count, NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt
from trials.storage.checkpoint import Checkpointer
from trials.types import Poisoning

PLAIN = "fast"


def fit(
    model: nn.Module,
    poisoning: Poisoning,
    rng: Generator,
    checkpointer: Checkpointer | None = None,
    /,
    *,
    begin: Count = 10,
    every: PositiveInt = 2,
    share: PositiveFraction = 0.1,
    epochs: PositiveInt = 24,
    peak: PositiveFloat = 0.4,
    weight_decay: NonNegativeFloat = 5e-4,
    batch: PositiveInt = 512,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> Iterator[tuple[int, int, float]]:
    """Train ``model`` in place; yield (steps done, steps in all, mean loss) after each epoch.

    Args:
        model: trained in place.
        poisoning: what it is trained on.
        rng: shuffles, augments, and draws what else is random.
        checkpointer: not used: a training that was cut short begins anew.
        begin: epoch, counted from 0, before which rows are first left out; 1 for an epsilon of 16.
        every: epochs from one such time to the next; 5 for an epsilon of 16.
        share: medoids, as a share of each class's rows, at most 0.5; 0.1 to 0.3 in the paper.
        epochs: passes over the data.
        peak: largest learning rate, reached after a fifth of the epochs.
        weight_decay: L2 penalty, not on BatchNorm and biases.
        batch: images a step.
        precision: fp32, bf16 (autocast), or auto: bf16 on GPUs that have it.

    Raises:
        ArithmeticError: fewer rows than a batch are left.
    """
    fast = Fast(epochs, peak, weight_decay, batch, precision)
    return fast.fit(model, poisoning, rng, None, Epic(begin, every, share, batch))


def check(
    model: nn.Module, rows: int, /, *, begin: int, share: float, epochs: int, **_: object
) -> None:
    """Refuse a beginning after the last epoch, and too many medoids, before anything is trained.
    Raises SpecError.
    """
    check_begins("epic", begin, epochs)
    check_medoids(share)
