"""What an attack that crafts its poison is handed: real networks, real training, kept in memory."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from trials import catalog
from trials.crafting import fitted_by
from trials.recipes import fast
from trials.types import Images
from trials.views import AttackerView

RECIPE = partial(fast.fit, epochs=2, peak=0.1, batch=16, precision="fp32")
_kept: dict[tuple[str, str], Mapping[str, Tensor]] = {}


def attacker_view(train: Images, recipe: Callable[..., object] = RECIPE) -> AttackerView:
    """A view with a small network for a surrogate; what is made once is not made again."""
    content = hashlib.sha256(train.x.numpy().tobytes() + train.y.numpy().tobytes()).hexdigest()

    def fresh(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            build = catalog.find("models", "small_cnn")
            model: nn.Module = build(train.classes, train.x.shape[-1], width=8)
            return model.to(memory_format=torch.channels_last)

    def keep(name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if (content, name) not in _kept:
            _kept[content, name] = make()
        return _kept[content, name]

    return AttackerView(
        train,
        targets=lambda: train,
        fresh=fresh,
        fit=fitted_by(recipe),  # type: ignore[arg-type]
        keep=keep,
    )


def view_of(train: Images, number: int) -> AttackerView:
    """The view of an attack on one victim, whichever it is."""
    return attacker_view(train)
