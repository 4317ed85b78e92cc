"""Fast training under as much noise on each image as leaves the model's answer alone, and random
noise besides: friendly noise.

Source: Liu, Yang, Mirzasoleiman 2022, arXiv:2208.10224, with the settings of its code (MIT).
Deviation: the loss of an image is its own, whatever the batch; noise is of whole levels and starts
uniform. The schedule is that of ``fast``.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.recipes._fast import Fast
from trials.recipes._rows import Friendly, check_begins
from trials.spec import Count, NonNegativeFloat, PositiveFloat, PositiveInt
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
    begin: Count = 5,
    clamp: PositiveInt = 16,
    mu: NonNegativeFloat = 1.0,
    noise_steps: PositiveInt = 30,
    random: Count = 8,
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
        begin: epoch, counted from 0, before which the noise is made.
        clamp: largest noise of a pixel's value, in levels of 255.
        mu: weight of the noise's size beside that of the model's answer.
        noise_steps: steps of the descent that makes the noise.
        random: size of the random noise, plus or minus, in levels of 255; 0 for none.
        epochs: passes over the data.
        peak: largest learning rate, reached after a fifth of the epochs.
        weight_decay: L2 penalty, not on BatchNorm and biases.
        batch: images a step.
        precision: fp32, bf16 (autocast), or auto: bf16 on GPUs that have it.
    """
    fast = Fast(epochs, peak, weight_decay, batch, precision)
    return fast.fit(model, poisoning, rng, None, Friendly(begin, clamp, mu, noise_steps, random))


def check(model: nn.Module, rows: int, /, *, begin: int, epochs: int, **_: object) -> None:
    """Refuse a beginning after the last epoch, before anything is trained. Raises SpecError."""
    check_begins("friendly_noise", begin, epochs)
