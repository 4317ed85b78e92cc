"""A model whose outputs are not the classes in their order: its logits are put in that of the
classes, those of no class behind them, so that class k is logit k everywhere here.

Its own state dict and the order in it stay.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_ORDER = "output_order"  # the buffer's name; no network has one of this name


def in_order(network: nn.Module, outputs: Sequence[int]) -> nn.Module:
    """The network itself, whose logit i is now its own output ``outputs[i]``.

    Args:
        network: changed in place; its parameters, saved buffers and their names stay.
        outputs: all of them, each once.
    """
    network.register_buffer(_ORDER, torch.tensor(outputs), persistent=False)
    network.register_forward_hook(_reordered)
    return network


def without_order(network: nn.Module) -> nn.Module:
    """The network itself, its logits in its own order again."""
    if hasattr(network, _ORDER):
        setattr(network, _ORDER, None)
    return network


def _reordered(network: nn.Module, _: object, logits: Tensor) -> Tensor:
    order = getattr(network, _ORDER)
    return logits if order is None else logits.index_select(1, order)
