"""Fast training under stronger augmentation, against poison that is learnt by heart.

Source: Borgnia et al. 2021, arXiv:2011.09527 (against poison); Zhang et al. 2018, arXiv:1710.09412
(mixup); Yun et al. 2019, arXiv:1905.04899 (cutmix); DeVries & Taylor 2017, arXiv:1708.04552
(cutout); Gong et al. 2021, arXiv:2002.09024 (maxup).
Deviation: one mixing share a batch; maxup takes the worst of four cutouts. The schedule is that of
``fast``.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Generator, nn

from trials.recipes._countermeasure import Mixing
from trials.recipes._fast import Fast
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveInt, SpecError
from trials.storage.checkpoint import Checkpointer
from trials.types import Poisoning

PLAIN = "fast"
_SQUARES = ("cutout", "maxup")
DEFAULTS = {"kind": {"cutout": {"strength": 0.5}, "maxup": {"strength": 0.5}}}


def fit(
    model: nn.Module,
    poisoning: Poisoning,
    rng: Generator,
    checkpointer: Checkpointer | None = None,
    /,
    *,
    kind: Literal["mixup", "cutmix", "cutout", "maxup"] = "mixup",
    strength: PositiveFloat = 1.0,
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
        kind: mixup (images and labels mixed), cutmix (a rectangle of another image), cutout (a
            black square) or maxup (the worst of four cutouts).
        strength: alpha of the mixing share's Beta distribution, 1; of cutout and maxup the square's
            side as a share of the image's, 0.5, and below 1.
        epochs: passes over the data.
        peak: largest learning rate, reached after a fifth of the epochs.
        weight_decay: L2 penalty, not on BatchNorm and biases.
        batch: images a step.
        precision: fp32, bf16 (autocast), or auto: bf16 on GPUs that have it.
    """
    fast = Fast(epochs, peak, weight_decay, batch, precision)
    return fast.fit(model, poisoning, rng, checkpointer, Mixing(kind, strength))


def check(model: nn.Module, rows: int, /, *, kind: str, strength: float, **_: object) -> None:
    """Refuse squares as large as the image, before anything is trained. Raises SpecError."""
    if kind in _SQUARES and strength >= 1:
        raise SpecError(
            f"strong_augmentation: strength = {strength:g} is a square as wide as the image, which "
            f'kind = "{kind}" would hide most of. Set strength below 1, such as 0.5.'
        )
