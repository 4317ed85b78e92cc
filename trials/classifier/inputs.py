"""What a layer reads in a forward pass."""

from torch import Tensor, nn


def with_inputs(model: nn.Module, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What ``layer`` of the model reads, as it reads it, and the logits (n, classes)."""
    caught: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        caught.append(args[0])

    handle = layer.register_forward_pre_hook(keep)
    try:
        logits: Tensor = model(x)
    finally:
        handle.remove()
    return caught[0], logits
