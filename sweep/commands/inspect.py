"""What ``inspect`` is asked for: a file or folder and, perhaps, the one architecture to compare it
with.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sweep.commands.inspect_folder import Configured, folder_of
from sweep.commands.inspect_folder import candidates as of_folder
from trials import catalog
from trials.architecture import parsed
from trials.spec import SpecError
from trials.weights.inspection import Inspection, inspect
from trials.weights.known import Candidate, known, last_layer
from trials.weights.names import Shapes
from trials.weights.shards import is_hugging_face


@dataclass(frozen=True, slots=True)
class Looked:
    """What a file holds, or a folder: what its configuration says, and its weights.

    Attributes:
        folder: None where it is a file.
        inspection: None where a folder's weights are refused.
    """

    folder: Configured | None
    inspection: Inspection | None

    def as_json(self) -> dict[str, Any]:
        weights = self.inspection.as_json() if self.inspection else {}
        return {"folder": asdict(self.folder), **weights} if self.folder else weights


def look(path: Path, arch: str = "", size: int = 32) -> Looked:
    """Look into a file or a Hugging Face folder; nothing in it is run, and nothing downloaded.

    Args:
        path: safetensors, a torch file, or a folder with a config.json.
        arch: compare with this model alone, its name and settings as for ``defend``; empty: with
            all known architectures, and a folder with the one that its config.json says.
        size: side of the model's input in pixels, where ``arch`` needs one.

    Raises:
        SpecError: it cannot be read, or there is no such architecture.
    """
    candidates = _only(arch, size) if arch else known
    path = path.expanduser()
    if not is_hugging_face(path):
        return Looked(None, inspect(path, candidates))
    folder = folder_of(path)
    try:
        return Looked(folder, inspect(path, candidates if arch else partial(of_folder, folder)))
    except SpecError as problem:
        refused = folder.refused or str(problem)
        return Looked(replace(folder, refused=refused), None)


def _only(arch: str, size: int) -> Callable[[Shapes], Iterable[Candidate]]:
    name, settings = parsed(arch)
    build = catalog.find("models", name)

    def candidates(shapes: Shapes) -> list[Candidate]:
        head = last_layer(shapes)
        with torch.random.fork_rng(devices=[]):
            model = build(shapes[head][0] if head else 1, size, **settings)
        return [(arch, lambda: model)]

    return candidates
