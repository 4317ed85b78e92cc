"""Fast training whose gradients are clipped and noised, against poison that needs a few large ones.

Source: Hong et al. 2020, arXiv:2002.11497; noise as in Geiping et al. 2021, arXiv:2009.02276.
Deviation: of a batch's gradient, not of each image's, so it is no differential privacy; the code of
Witches' Brew computes its clip and drops it. The schedule is that of ``fast``.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.recipes._countermeasure import Shaping
from trials.recipes._fast import Fast
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveInt
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
    clip: PositiveFloat = 1.0,
    noise: NonNegativeFloat = 1e-3,
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
        checkpointer: keeps checkpoints and has the last one.
        clip: largest norm of a batch's gradient, over all parameters.
        noise: standard deviation of the noise on each coordinate of it.
        epochs: passes over the data.
        peak: largest learning rate, reached after a fifth of the epochs.
        weight_decay: L2 penalty, not on BatchNorm and biases.
        batch: images a step.
        precision: fp32, bf16 (autocast), or auto: bf16 on GPUs that have it.
    """
    fast = Fast(epochs, peak, weight_decay, batch, precision)
    return fast.fit(model, poisoning, rng, checkpointer, Shaping(clip, noise))
