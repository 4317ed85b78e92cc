"""What was found in each model, so that a model is traced once."""

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.classifier._head import Head, head_of_trace
from trials.classifier._prunable import Units, units_of
from trials.classifier._stages import StagePath, stages_of
from trials.classifier._trace import Shape, Trace, own_modes, trace
from trials.spec import SpecError

_SIDES = (32, 64, 224)  # in pixels, tried where nobody says what the images are


@dataclass(frozen=True, slots=True)
class Parts:
    """What a trace shows, in names, so that it holds for copies too.

    Attributes:
        head: path of the layer that gives the logits.
        stages: where features are looked at.
        units: what can be cut.
        paired: some convolution's output is read by a batch normalisation.
    """

    head: str | None = None
    stages: tuple[StagePath, ...] = ()
    units: Units | None = None
    paired: bool = False


_Kinds = tuple[type[nn.Module], ...]  # of all of a model's modules: another is another model
_known: WeakKeyDictionary[nn.Module, dict[Shape, tuple[_Kinds, Parts]]] = WeakKeyDictionary()


def parts_of(model: nn.Module, shape: Shape | None = None) -> Parts:
    """What the model is made of; it is left alone, and traced only where it was not before.

    Args:
        model: any classifier.
        shape: of an image, (c, h, w); left out, the one it was last traced with, or a guess.

    Raises:
        SpecError: the model cannot be run on such images, or no guess suits it.
    """
    kinds = tuple(map(type, model.modules()))
    before = _known.setdefault(model, {})
    for known, (then, parts) in reversed(before.items()):
        if then == kinds and shape in (None, known):
            return parts
    problem = ""
    for guess in [shape] if shape else _guesses(model):
        try:
            with own_modes(model):
                before[guess] = (kinds, _parts(trace(model, guess)))
        except Exception as error:  # whatever a stranger's model raises
            problem = problem or f"{guess}: {' '.join(str(error).split())[:200]}"
            continue
        return before[guess][1]
    raise SpecError(f"the model cannot be run on images of the shape {problem}")


def hand_on(model: nn.Module, copy: nn.Module) -> None:
    """Let a copy have what was found in the model."""
    if model in _known:
        _known[copy] = dict(_known[model])


def head_of(model: nn.Module, shape: Shape | None = None) -> Head:
    """The layer that gives the logits. Raises LookupError where there is none."""
    name = parts_of(model, shape).head
    if name is None:
        raise LookupError("no linear layer gives the model's logits, so it has no latents")
    head = model.get_submodule(name)
    assert isinstance(head, Head)
    return head


def _guesses(model: nn.Module) -> Iterator[Shape]:
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return ((first.in_channels if first else 3, side, side) for side in _SIDES)


def _parts(found: Trace | None) -> Parts:
    if found is None:
        return Parts()
    head = head_of_trace(found)
    convolutions = {c.made for c in found.calls if isinstance(c.module, nn.Conv2d)}
    norms = (
        c
        for c in found.calls
        if isinstance(c.module, _BatchNorm) and c.module.affine and c.module.track_running_stats
    )
    return Parts(
        head=head.name if head else None,
        stages=stages_of(found),
        units=units_of(found, head),
        paired=any(c.read in convolutions for c in norms),
    )
