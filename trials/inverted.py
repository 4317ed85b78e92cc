"""Triggers that were inverted in this process, kept for the next trial that asks for the same: the
settings of an unlearning do not change what it unlearns.
"""

import hashlib
from collections import OrderedDict
from itertools import chain

import torch
from torch import Generator, Tensor, nn

from trials.inversion import invert
from trials.types import Images

_MOST = 64  # sets of triggers; one of ten classes at 32 pixels takes 120 KB
_kept: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()


def inverted(
    model: nn.Module,
    images: Images,
    rng: Generator,
    *,
    steps: int,
    lr: float,
    batch: int,
    norm_weight: float,
) -> Tensor:
    """What ``invert`` gives, on the model's device; ``rng`` goes on as after it. The arguments are
    its own, and errors too.
    """
    settings = (steps, lr, batch, norm_weight, images.classes)
    state = dict(chain(model.named_parameters(), model.named_buffers()))  # saved or not
    # the last says what no tensor does, such as strides and groups
    words = (*map(str, settings), *state, repr(model))
    key = _digest([*state.values(), images.x, images.y, rng.get_state()], *words)
    device = next(model.parameters()).device
    if key not in _kept:
        found = invert(model, images, rng, steps=steps, lr=lr, batch=batch, norm_weight=norm_weight)
        _kept[key] = found.cpu(), rng.get_state()
        if len(_kept) > _MOST:
            _kept.popitem(last=False)
    triggers, after = _kept[key]
    _kept.move_to_end(key)
    rng.set_state(after)
    return triggers.to(device, copy=True)


def forget() -> None:
    """Drop what is kept, so that the next inversion runs."""
    _kept.clear()


def _digest(tensors: list[Tensor], *words: str) -> str:
    """Of the tensors' bytes, shapes and types, and of the words."""
    state = hashlib.blake2b(repr(words).encode())
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous()
        state.update(f"{tensor.dtype}{tuple(tensor.shape)}{tensor.device}".encode())
        state.update(flat.flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()
