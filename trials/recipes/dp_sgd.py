"""Training with differential privacy: no single image, poisoned or not, moves the model much.

Source: Abadi et al. 2016, arXiv:1607.00133; against poison Ma, Zhu, Hsu 2019, arXiv:1903.09860.
Gradients of single images and accountants are Opacus's (Yousefpour et al. 2021, arXiv:2109.12298),
the extra "dp".
Deviation: the schedule and momentum are those of ``fast``; a row that occurs several times an epoch
has as many gradients.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.recipes._fast import Fast
from trials.recipes._private import Private, require_private, require_private_budget
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt
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
    epsilon: PositiveFloat = 8.0,
    delta: PositiveFraction = 1e-5,
    accountant: Literal["rdp", "prv"] = "rdp",
    clip: PositiveFloat = 1.0,
    epochs: PositiveInt = 24,
    peak: PositiveFloat = 0.4,
    weight_decay: NonNegativeFloat = 5e-4,
    batch: PositiveInt = 256,
) -> Iterator[tuple[int, int, float]]:
    """Train ``model`` in place; yield (steps done, steps in all, mean loss) after each epoch.

    Memory holds a gradient of each image of a batch.

    Args:
        model: trained in place; it has no batch normalisation.
        poisoning: what it is trained on.
        rng: draws the batches and the noise, and augments.
        checkpointer: keeps checkpoints and has the last one.
        epsilon: of the (epsilon, delta) privacy that the training has, one row more or less; the
            noise follows from it.
        delta: of the same; below one over the number of rows.
        accountant: that counts the privacy: rdp, Renyi's, or prv, of random variables, tighter.
        clip: largest norm of an image's gradient, over all parameters.
        epochs: passes over the data.
        peak: largest learning rate, reached after a fifth of the epochs.
        weight_decay: L2 penalty, not on normalisation and biases.
        batch: images a step, on average.

    Raises:
        SpecError: Opacus is not installed, the model has batch normalisation, or no noise gives
            that privacy to so many rows.
    """
    require_private(model)
    require_private_budget(len(poisoning.train), batch, epochs, epsilon, delta, accountant)
    private = Private(model, clip, epsilon, delta, accountant, epochs)
    fast = Fast(epochs, peak, weight_decay, batch, "fp32")
    try:
        yield from fast.fit(model, poisoning, rng, checkpointer, private)
    finally:
        private.close()


def check(
    model: nn.Module,
    rows: int,
    /,
    *,
    epsilon: float,
    delta: float,
    accountant: str,
    epochs: int,
    batch: int,
    **_: object,
) -> None:
    """Refuse a model that cannot be trained so on so many rows, before anything is. Raises
    SpecError.

    Before a sweep these are all rows, its filters' too, as what a filter will remove is not known
    yet. Fewer rows bear every ``delta`` that all of them do; their noise follows from their own
    number, and where there is none for it, the training is refused as it begins.
    """
    require_private(model)
    require_private_budget(rows, batch, epochs, epsilon, delta, accountant)
