"""What a Hugging Face folder's configurations say of its image classifier, and whether ``defend``
takes it; nothing in it is run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from sweep.commands.given_model import model_of
from sweep.commands.image_size import USUAL
from trials import catalog
from trials.models._hf_config import classifier_of, read_json
from trials.models._hf_pixels import PREPROCESSOR
from trials.models.hugging_face import own_size, said_of_pixels
from trials.normalisation import in_words
from trials.spec import SpecError
from trials.weights.known import Build, Candidate, known, model_shapes
from trials.weights.names import Shapes
from trials.weights.shards import CONFIG

_LONGEST = 80  # characters of a stranger's word
_CLASSES = 2  # where a configuration says nothing, in transformers


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What the configurations say.

    Attributes:
        path: of the folder.
        architecture: the class of transformers, or what stands in its place; empty for none.
        model_type: transformers' word for the kind of network; empty for none.
        classes: number of outputs.
        names: of the classes, in their order; () for none.
        size: side of the images in pixels; None where none is said.
        normalisation: in words; empty where none is said.
        own_code: it asks for code of its own, which is never run.
        refused: what ``defend`` says of the configurations where it refuses them; else empty.
    """

    path: str
    architecture: str
    model_type: str
    classes: int
    names: tuple[str, ...]
    size: int | None = None
    normalisation: str = ""
    own_code: bool = False
    refused: str = ""


def folder_of(path: Path) -> Configured:
    """Read config.json and preprocessor_config.json.

    Raises:
        SpecError: config.json cannot be read.
    """
    config = read_json(path / CONFIG)
    asked = config.get("architectures")
    names = _names(config)
    number = config.get("num_labels")
    folder = Configured(
        path=str(path),
        architecture=_short(asked[0] if isinstance(asked, list) and asked else asked),
        model_type=_short(config.get("model_type")),
        classes=len(names) or (number if type(number) is int and number > 0 else _CLASSES),
        names=names,
        own_code="auto_map" in config,
    )
    try:
        _, name = classifier_of(path / CONFIG, config)
        return _taken(replace(folder, architecture=name), path)
    except SpecError as problem:
        return replace(folder, refused=str(problem))


def candidates(folder: Configured, shapes: Shapes) -> Iterable[Candidate]:
    """The architecture that config.json says; all known ones where that is refused."""
    return known(shapes) if folder.refused else [(folder.architecture, _build(folder))]


def _taken(folder: Configured, path: Path) -> Configured:
    """With size and normalisation; raises SpecError where the network cannot be built."""
    _, settings = model_of(path, "")
    said = said_of_pixels(str(settings.get("preprocessor", "")))
    size = own_size(**{key: str(value) for key, value in settings.items()})
    found = replace(
        folder,
        size=size.side if size else None,
        normalisation=f"{in_words(said)}, of {PREPROCESSOR}" if said else "",
    )
    model_shapes(_build(found))
    return found


def _build(folder: Configured) -> Build:
    name, settings = model_of(Path(folder.path), "")
    return partial(_built, name, folder.classes, folder.size or USUAL, settings)


def _built(name: str, classes: int, size: int, settings: Mapping[str, Any]) -> nn.Module:
    model: nn.Module = catalog.find("models", name)(classes, size, **settings)
    return model


def _names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes' names, by the number of their output."""
    labels = config.get("id2label")
    if not isinstance(labels, dict) or not all(key.isdecimal() for key in labels):
        return ()
    return tuple(_short(labels[key]) for key in sorted(labels, key=int))


def _short(value: Any) -> str:
    """A value of a stranger's file, as text of bounded length."""
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
