"""Latents and feature maps, from one forward pass."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from trials.classifier._cache import head_of
from trials.classifier._stages import Stage
from trials.classifier.inputs import with_inputs


def with_latents(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (n, d), the input of the head, and logits (n, classes), from one forward pass.

    Raises:
        LookupError: the model has no head.
    """
    latents, logits = with_inputs(model, head_of(model, tuple(x.shape[1:])), x)
    return latents.flatten(1), logits


def with_features(
    model: nn.Module, stages: Sequence[Stage], x: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Feature maps of the stages, as ``Stage.maps`` has them, and logits, from one forward pass."""
    caught: dict[int, Tensor] = {}

    def keeper(i: int) -> Callable[[nn.Module, object, object], None]:
        def keep(_m: nn.Module, _i: object, out: object) -> None:
            caught[i] = stages[i].maps(out)

        return keep

    handles = [s.module.register_forward_hook(keeper(i)) for i, s in enumerate(stages)]
    try:
        logits: Tensor = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return [caught[i] for i in range(len(stages))], logits
