"""A model seen through what it offers, whatever its architecture, and what it lacks."""

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.classifier._cache import Parts, head_of, parts_of
from trials.classifier._head import Head
from trials.classifier._prunable import Prunable
from trials.classifier._stages import Stage
from trials.classifier._trace import Shape
from trials.spec import SpecError

# what NEEDS of a method may name, in the words of an error
WHAT = {
    "head": "a linear layer that gives the logits, whose input is the latent",
    "norms": "batch normalisation",
    "paired_norms": "convolutions followed by batch normalisation",
    "prunable": "channels, or hidden units, that one layer alone reads",
    "scales": "normalisation layers that have scales and shifts",
    "stages": "at least two stages, as layer1 and layer2 of a ResNet or blocks of a transformer",
    "trained_head": "a last linear layer that is trained, not fixed",
}
_SCALED = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


class Classifier(nn.Module):
    """A model seen through what it has, instead of by its architecture's name.

    It holds the model itself and no copy: what ``stages`` and the others give are the model's own
    modules. They are found by one forward pass of a copy of the model, with weights drawn anew, on
    two random images, the first time that they are asked for.

    Args:
        model: float images (n, c, h, w) in [0, 1] to logits (n, classes).
        shape: of an image, (c, h, w); left out, the one that the model was last looked at with, or
            32, 64 or 224 pixels a side.
    """

    def __init__(self, model: nn.Module, shape: Sequence[int] | None = None) -> None:
        super().__init__()
        self.model = model
        self._shape: Shape | None = tuple(shape) if shape is not None else None

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits

    @property
    def parts(self) -> Parts:
        """What the model has, in names. Raises SpecError where it cannot be run."""
        return parts_of(self.model, self._shape)

    @property
    def head(self) -> Head:
        """The layer that gives the logits; its input is the latent. Raises LookupError if none."""
        return head_of(self.model, self._shape)

    def stages(self) -> Mapping[str, Stage]:
        """Where features are looked at, in order, by the modules' paths; {} where there are fewer
        than two.
        """
        places = self.parts.stages
        return {p.name: Stage(self.model.get_submodule(p.name), p) for p in places}

    def prunable(self) -> Prunable | None:
        """Channels of the last maps, or hidden units of the last block; None where they cannot be
        cut without cutting others.
        """
        units = self.parts.units
        if units is None:
            return None
        consumer = self.model.get_submodule(units.consumer)
        assert isinstance(consumer, Head)
        maker = self.model.get_submodule(units.maker) if units.maker else None
        return Prunable(units.number, consumer, maker, units.read)

    def norms(self) -> Sequence[_BatchNorm]:
        """The batch normalisations that keep running statistics."""
        found = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        return [m for m in found if m.track_running_stats]

    def scales(self) -> Sequence[nn.Module]:
        """The normalisations of any kind that have a scale and a shift a channel."""
        found = [m for m in self.model.modules() if isinstance(m, _SCALED)]
        return [m for m in found if _is_vector(m.weight) and _is_vector(m.bias)]

    def lacks(self, needs: Collection[str]) -> list[str]:
        """Which of a method's ``NEEDS`` the model has not, sorted.

        Raises:
            SpecError: it cannot be run on such images.
        """
        return sorted(need for need in needs if not _HAS[need](self))

    def _has_trained_head(self) -> bool:
        return self.parts.head is not None and isinstance(self.head.weight, nn.Parameter)


def _is_vector(value: object) -> bool:
    return isinstance(value, nn.Parameter) and value.dim() == 1


_HAS: Mapping[str, Callable[[Classifier], bool]] = {
    "head": lambda seen: seen.parts.head is not None,
    "norms": lambda seen: bool(seen.norms()),
    "paired_norms": lambda seen: seen.parts.paired,
    "prunable": lambda seen: seen.parts.units is not None,
    "scales": lambda seen: bool(seen.scales()),
    "stages": lambda seen: bool(seen.parts.stages),
    "trained_head": lambda seen: seen._has_trained_head(),
}


def wants(lacking: Sequence[str]) -> str:
    """What a model lacks of what ``lacks`` says, in words; empty for nothing."""
    parts = " and ".join(WHAT[need] for need in lacking)
    return f"needs a model with {parts}" if lacking else ""


def require(
    method: str,
    model: nn.Module,
    needs: Collection[str],
    name: str = "this one",
    shape: Sequence[int] | None = None,
) -> None:
    """Raises SpecError with one line where the model lacks what a method needs.

    Args:
        method: the defense's or detector's name.
        model: any classifier.
        needs: the method's ``NEEDS``.
        name: what the model is called in the line.
        shape: of an image, (c, h, w), as ``Classifier`` takes it.
    """
    if lacking := Classifier(model, shape).lacks(needs):
        raise SpecError(
            f"{method} {wants(lacking[:1])}, and {name} has none: leave {method} out, or choose "
            "another model."
        )
