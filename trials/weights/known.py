"""Which architecture do these names and shapes fit? Each known one is built without memory for its
weights, with the settings that can be read from the shapes.
"""

import importlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
from torch import nn

from trials import catalog
from trials.spec import SpecError
from trials.weights.names import Matching, Shape, Shapes, match

Build = Callable[[], nn.Module]
Candidate = tuple[str, Build]  # as --arch takes it, and the model
_HEADS = re.compile(  # transformers have an output in each block, and layers in it
    r"(^|\.)((_?fc|linear|classifier|heads?|logits|last_linear)(\.|$)|(output|out)\.$)"
)
_CONSTANTS: Shapes = {"normalize.mean": (3,), "normalize.std": (3,)}  # of RGB
_SIZE = 32  # pixels a side; no shape of those that are matched depends on it
_NEEDS = {"clip_vit_b32": "vision"}  # seconds to build: only where a name of the file has this
# the first tensor of torchvision's networks, by how their names begin; regnet cannot be built
# without memory for its weights
_TORCHVISION = {
    ("alexnet", "vgg", "squeezenet"): "features.0.weight",
    ("convnext", "efficientnet", "mobilenet", "swin"): "features.0.0.weight",
    ("densenet",): "features.conv0.weight",
    ("googlenet",): "conv1.conv.weight",
    ("inception",): "Conv2d_1a_3x3.conv.weight",
    ("maxvit",): "stem.0.0.weight",
    ("mnasnet",): "layers.0.weight",
    ("resnet", "resnext", "wide_resnet"): "layer1.0.conv1.weight",
    ("shufflenet",): "conv1.0.weight",
    ("vit",): "class_token",
}


@dataclass(frozen=True, slots=True)
class Fit:
    """How well weights fit an architecture.

    Attributes:
        label: as --arch takes it.
        alike: the model's tensors that the file has, with their shapes.
        total: the tensors that the model needs, and those that the file has too much.
        missing: the model's names that the file lacks.
        unexpected: the file's names that the model has not.
        other_shapes: name, shape in the file, shape in the model.
        prefix: what the file's names have in front.
        left_out: the file's names of what is no part of a model, and harmless.
    """

    label: str
    alike: int
    total: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shapes: tuple[tuple[str, Shape, Shape], ...]
    prefix: str
    left_out: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.other_shapes)

    @property
    def share(self) -> float:
        return self.alike / max(1, self.total)


def fits(shapes: Shapes, candidates: Iterable[Candidate]) -> list[Fit]:
    """How well the weights fit each candidate, the best first; it stops at one that fits wholly.

    A candidate that cannot be built is left out.
    """
    found: list[Fit] = []
    for label, build in candidates:
        try:
            own = model_shapes(build)
        except Exception:  # a width that there is none of, a method of the user's own
            continue
        with suppress(SpecError):  # the file holds one tensor of it twice
            found.append(fit(label, own, shapes))
        if found and found[-1].complete:
            break
    return sorted(found, key=lambda one: -one.share)


def known(shapes: Shapes) -> Iterator[Candidate]:
    """The models of the catalog that such weights could be of, with the settings that differ from
    their defaults.
    """
    head = last_layer(shapes)
    classes = shapes[head][0] if head else 1
    for name in catalog.names("models"):
        settings = catalog.describe("models", name).settings
        part = _NEEDS.get(name)
        if "arch" in settings or (part and not any(part in key for key in shapes)):
            continue  # a library of architectures; or what no name speaks for
        read = _settings_in(name, shapes)
        own = {k: v for k, v in read.items() if v != settings[k].default}
        words = ",".join(f"{k}={v}" for k, v in own.items())
        build = partial(_built, name, classes, own)
        yield (f"{name}:{words}" if words else name), build
    if "torchvision" in catalog.names("models"):
        yield from torchvision_models(shapes, classes)


def torchvision_models(shapes: Shapes, classes: int) -> Iterator[Candidate]:
    """The classifiers of torchvision whose first tensor is among those of the file."""
    from torchvision import models  # noqa: PLC0415 - a second to import

    beginnings = [begins for begins, first in _TORCHVISION.items() if _is_there(first, shapes)]
    for name in models.list_models(module=models):
        if name.startswith(tuple(chain.from_iterable(beginnings))):
            quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            make = partial(models.get_model, name, weights=None, num_classes=classes, **quick)
            yield f"torchvision:{name}", make


def hint(shapes: Shapes) -> str:
    """A sentence that says which known architecture fits, if one does but for its head."""
    best = next(iter(fits(shapes, known(shapes))), None)
    if best and best.complete:
        return f"It looks like --arch {best.label}."
    names = ", ".join(catalog.names("models"))
    return f"It looks like none of the known architectures: {names}. poisonsweep inspect says more."


def first_layer(shapes: Shapes) -> str | None:
    """The name of the first convolution that reads three channels, or any, if none does."""
    convolutions = [k for k, s in shapes.items() if len(s) == 4 and k.endswith("weight")]
    coloured = [k for k in convolutions if shapes[k][1] == 3]
    return min(coloured or convolutions, key=natural, default=None)


def last_layer(shapes: Shapes) -> str | None:
    """The name of the weight whose outputs are the classes, as far as names tell."""
    flat = [k for k, s in shapes.items() if len(s) in (2, 4) and s[2:] in ((), (1, 1))]
    weights = [k for k in flat if k.endswith("weight")]
    named = [k for k in weights if _HEADS.search(k.removesuffix("weight"))]
    linear = [k for k in weights if len(shapes[k]) == 2]
    return max(named or linear, key=natural, default=None)


def natural(key: str) -> list[tuple[int, str]]:
    """Sorts numbers in names as numbers."""
    return [(int(p) if p.isdecimal() and len(p) < 10 else -1, p) for p in key.split(".")]


def model_shapes(build: Build) -> dict[str, Shape]:
    """The shapes of a model's tensors, without memory for them, and of the constants of its
    normalisation, which it may keep elsewhere.
    """
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = build()
    in_files = getattr(model, "saved_names", {})
    state = {in_files.get(k, k): tuple(v.shape) for k, v in model.state_dict().items()}
    return {**_CONSTANTS, **state}


def fit(label: str, own: Shapes, shapes: Shapes) -> Fit:
    """How well weights of these shapes fit a model of the shapes ``own``.

    Raises:
        SpecError: the weights hold the model, or a tensor of it, twice.
    """
    found: Matching = match(own, shapes, label)
    missing, other = found.missing(own), found.other_shapes(own, shapes)
    return Fit(
        label,
        alike=len(found.names) - len(other),
        total=len(found.names) + len(missing) + len(found.unexpected),
        missing=tuple(missing),
        unexpected=found.unexpected,
        other_shapes=tuple((k, shapes[found.names[k]], own[k]) for k in other),
        prefix=found.prefix,
        left_out=found.left_out,
    )


def _settings_in(name: str, shapes: Shapes) -> dict[str, int]:
    """What the shapes tell of a model's settings: by its own ``settings_in``, or the width, which
    is the first layer's outputs.
    """
    module = importlib.import_module(catalog.find("models", name).__module__)
    if hasattr(module, "settings_in"):
        found: dict[str, int] = module.settings_in(shapes)
        return found
    stem = first_layer(shapes)
    has = "width" in catalog.describe("models", name).settings
    return {"width": shapes[stem][0]} if stem and has else {}


def _is_there(end: str, shapes: Shapes) -> bool:
    return any(key.endswith(end) for key in shapes)


def _built(name: str, classes: int, settings: dict[str, int]) -> nn.Module:
    model: nn.Module = catalog.find("models", name)(classes, _SIZE, **settings)
    return model
