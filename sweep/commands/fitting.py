"""Which defenses or detectors a model can have, from what it has; nothing is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sweep.commands.given_model import Model, model_of
from sweep.commands.inspect import look
from sweep.commands.inspect_folder import folder_of
from trials import catalog
from trials.architecture import parsed
from trials.classifier import Classifier, wants
from trials.spec import SpecError
from trials.weights.shards import is_hugging_face

KINDS = ("defenses", "detectors")
CLASSES = 10  # what a model has does not depend on their number


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a model can have.

    Attributes:
        model: its architecture, as --arch takes it.
        lacks: for each method, why it does not fit; empty where it does.
    """

    model: str
    lacks: Mapping[str, str]


def fitting(kind: str, model: str, size: int) -> Fitting:
    """Which methods of a kind fit a model.

    Args:
        kind: defenses or detectors.
        model: an architecture, as --arch takes it, a file of weights of a known one, or a Hugging
            Face folder.
        size: side of the images in pixels, where a folder does not say it.

    Raises:
        SpecError: another kind, no such architecture, a file that fits none that is known, or a
            folder that ``defend`` refuses.
    """
    if kind not in KINDS:
        raise SpecError(
            f"--for goes with {' or '.join(KINDS)}: poisonsweep list defenses --for ..."
        )
    path = Path(model).expanduser()
    if is_hugging_face(path):
        arch, named, size = model, *_of_folder(path, size)
    else:
        arch = _of_file(path) if path.exists() else model
        named = parsed(arch)
    seen = Classifier(_built(named, size), (3, size, size))
    needs = {name: catalog.describe(kind, name).needs for name in catalog.names(kind)}
    return Fitting(arch, {name: wants(seen.lacks(known)) for name, known in needs.items()})


def _of_folder(path: Path, size: int) -> tuple[Model, int]:
    folder = folder_of(path)
    if folder.refused:
        raise SpecError(folder.refused)
    return model_of(path, ""), folder.size or size


def _of_file(path: Path) -> str:
    """The architecture that the file's weights fit."""
    seen = look(path).inspection
    best = seen.fits[0] if seen and seen.fits else None
    if best is None or not best.complete:
        raise SpecError(
            f"{str(path)!r} fits none of the known architectures. Give its architecture in place "
            "of the file: torchvision:NAME, timm:NAME, package.module:callable."
        )
    return best.label


def _built(named: Model, size: int) -> nn.Module:
    name, settings = named
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = catalog.find("models", name)(CLASSES, size, **settings)
    return model
