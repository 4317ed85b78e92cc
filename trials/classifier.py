"""What a model offers to defenses and detectors, whatever its architecture, and what it lacks."""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.spec import SpecError

_FEWEST = 2  # stages; one stage is the whole model
# what NEEDS of a method may name, in the words of an error
WHAT = {
    "head": "a linear layer, whose input is the latent",
    "norms": "batch normalisation",
    "prunable": "one linear layer that reads the last convolution's channels",
    "trained_head": "a last linear layer that is trained, not fixed",
    "stages": "at least two stages, layer1, layer2 and so on, as a ResNet has",
}


@dataclass(frozen=True, slots=True)
class PrunableChannels:
    """Channels that can be cut without cutting another layer's.

    Attributes:
        producer: the convolution that makes them.
        norm: its normalisation, where it follows in the order of definition.
        consumers: the layers that read them.
    """

    producer: nn.Conv2d
    norm: _BatchNorm | None
    consumers: tuple[nn.Linear, ...]


class Classifier(nn.Module):
    """A model seen through what it has, instead of by its architecture's name.

    It holds the model itself and no copy: what ``stages`` and the others give are the model's own
    modules.

    Args:
        model: float images (n, c, h, w) in [0, 1] to logits (n, classes).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits

    @property
    def head(self) -> nn.Linear:
        """The last linear layer: its input is the latent. Raises LookupError if none."""
        return last_linear(self.model)

    def stages(self) -> Mapping[str, nn.Module]:
        """The modules layer1, layer2 and so on, in order; {} where there are fewer than two."""
        children = dict(self.model.named_children())
        names = (f"layer{i}" for i in itertools.count(1))
        found = {name: children[name] for name in itertools.takewhile(children.__contains__, names)}
        return found if len(found) >= _FEWEST else {}

    def prunable(self) -> Sequence[PrunableChannels]:
        """The last convolution's channels, where the one linear layer reads them; else ()."""
        layers = list(self.model.modules())
        convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
        linears = [m for m in layers if isinstance(m, nn.Linear)]
        if not convolutions or len(linears) != 1:
            return ()
        producer, (head,) = convolutions[-1], linears
        if head.in_features % producer.out_channels:
            return ()
        after = layers[layers.index(producer) + 1 :][:1]
        norm = next((m for m in after if isinstance(m, _BatchNorm)), None)
        return (PrunableChannels(producer, norm, (head,)),)

    def norms(self) -> Sequence[_BatchNorm]:
        """The batch normalisations that keep running statistics."""
        found = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        return [m for m in found if m.track_running_stats]

    def lacks(self, needs: Collection[str]) -> list[str]:
        """Which of a method's ``NEEDS`` the model has not, sorted."""
        linears = [m for m in self.model.modules() if isinstance(m, nn.Linear)]
        has = {
            "head": bool(linears),
            "norms": bool(self.norms()),
            "prunable": bool(self.prunable()),
            "stages": bool(self.stages()),
            "trained_head": bool(linears) and isinstance(linears[-1].weight, nn.Parameter),
        }
        return sorted(need for need in needs if not has[need])


def require(method: str, model: nn.Module, needs: Collection[str], name: str = "this one") -> None:
    """Raises SpecError with one line where the model lacks what a method needs.

    Args:
        method: the defense's or detector's name.
        model: any classifier.
        needs: the method's ``NEEDS``.
        name: what the model is called in the line.
    """
    for need in Classifier(model).lacks(needs):
        raise SpecError(
            f"{method} needs a model with {WHAT[need]}, and {name} has none: leave {method} out, "
            "or choose another model."
        )


def last_linear(model: nn.Module) -> nn.Linear:
    """The model's last ``nn.Linear`` in definition order: its input is the latent.

    Raises LookupError if none.
    """
    found = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if not found:
        raise LookupError("the model has no linear layer, so it has no latents")
    return found[-1]


def with_latents(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (n, d), the input of the last linear layer, and logits (n, classes), from one forward
    pass.
    """
    caught: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        caught.append(args[0])

    handle = last_linear(model).register_forward_pre_hook(keep)
    try:
        logits: Tensor = model(x)
    finally:
        handle.remove()
    return caught[0], logits


def with_features(
    model: nn.Module, layers: list[nn.Module], x: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Outputs of ``layers`` and logits, from one forward pass."""
    caught: dict[int, Tensor] = {}

    def keeper(i: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(_m: nn.Module, _i: tuple[Tensor, ...], out: Tensor) -> None:
            caught[i] = out

        return keep

    handles = [layer.register_forward_hook(keeper(i)) for i, layer in enumerate(layers)]
    try:
        logits: Tensor = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return [caught[i] for i in range(len(layers))], logits
