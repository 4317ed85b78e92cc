"""Fast training on images that are moved against the model, against poison of small perturbations.

Source: Madry et al. 2018, arXiv:1706.06083; four steps as in Geiping et al. 2021, arXiv:2009.02276.
Deviation: batch normalisation is in eval mode while images are moved. The schedule is that of
``fast``.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.recipes._countermeasure import Adversarial
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
    epsilon: PositiveInt = 16,
    steps: PositiveInt = 4,
    step: PositiveFloat = 8.0,
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
        epsilon: largest change of a pixel's value, in levels of 255; that of the attack.
        steps: gradient steps on each batch.
        step: change of a value in one of them, in levels of 255.
        epochs: passes over the data.
        peak: largest learning rate, reached after a fifth of the epochs.
        weight_decay: L2 penalty, not on BatchNorm and biases.
        batch: images a step.
        precision: fp32, bf16 (autocast), or auto: bf16 on GPUs that have it.
    """
    fast = Fast(epochs, peak, weight_decay, batch, precision)
    return fast.fit(model, poisoning, rng, checkpointer, Adversarial(epsilon, steps, step))
