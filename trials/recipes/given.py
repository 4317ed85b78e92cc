"""Given: a checkpoint from elsewhere; nothing is trained.

Source: none; this is how a stranger's model enters a sweep.
Deviation: none.
"""

from collections.abc import Iterator

from torch import Generator, nn

from trials.spec import Location, SpecError
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
    weights: Location = "",
) -> Iterator[tuple[int, int, float]]:
    """Fill ``model`` from the file, at once; the iterator is empty.

    Args:
        model: filled in place.
        poisoning: not used.
        rng: not used.
        checkpointer: not used.
        weights: a safetensors file, or a state dict saved by torch.

    Raises:
        SpecError: no file is named, or it does not hold this model's weights.
    """
    if not weights:
        raise SpecError("given: weights is empty. Set weights = the checkpoint's file.")
    load_weights(model, weights)
    return iter(())
