"""Fast training, from scratch or from a checkpoint: one triangle of the learning rate, large
batches, bf16 where that is fast.

Source: Smith & Topin 2017, arXiv:1708.07120 (one cycle); Goyal et al. 2017, arXiv:1706.02677
(linear scaling: 0.1 at 128 images is 0.4 at 512, no weight decay on BatchNorm).
Deviation: not the recipe of the paper; no augmentation beyond its shift and mirroring, because more
of it changes how backdoors are learned.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from torch import Generator, nn

from trials.classifier import Classifier
from trials.recipes._fast import Fast
from trials.spec import Location, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.storage.checkpoint import Checkpointer
from trials.types import Poisoning
from trials.weights.files import load_weights


def fit(
    model: nn.Module,
    poisoning: Poisoning,
    rng: Generator,
    checkpointer: Checkpointer | None = None,
    /,
    *,
    epochs: PositiveInt = 24,
    peak: PositiveFloat = 0.4,
    weight_decay: NonNegativeFloat = 5e-4,
    batch: PositiveInt = 512,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    start: Location = "",
    augment: bool = True,
) -> Iterator[tuple[int, int, float]]:
    """Train ``model`` in place; yield (steps done, steps in all, mean loss) after each epoch.

    Args:
        model: trained in place.
        poisoning: what it is trained on.
        rng: shuffles and augments.
        checkpointer: keeps checkpoints and has the last one.
        epochs: passes over the data.
        peak: largest learning rate, reached after a fifth of the epochs.
        weight_decay: L2 penalty, not on BatchNorm and biases.
        batch: images a step.
        precision: fp32, bf16 (autocast), or auto: bf16 on GPUs that have it.
        start: a file of weights to start from, as a public checkpoint's; a last layer for other
            classes is drawn anew. Left out, all weights are.
        augment: images are shifted and mirrored as their data set is; false: trained on as they
            are.

    Raises:
        SpecError: ``start`` does not hold this model's weights.
    """
    if start:
        head = {id(p) for p in Classifier(model).head.parameters()}
        last = [name for name, p in model.named_parameters() if id(p) in head]
        load_weights(model, start, may_differ=last)
    if not augment:
        poisoning = replace(poisoning, train=replace(poisoning.train, pad=0, flip=False))
    fast = Fast(epochs, peak, weight_decay, batch, precision)
    return fast.fit(model, poisoning, rng, checkpointer)
