"""What ``inspect`` is asked for: a file or folder and, perhaps, the one architecture to compare it
with.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sweep.spec.architecture import parsed
from trials import catalog
from trials.weights.inspection import Inspection, hugging_face, inspect
from trials.weights.known import Candidate, known, last_layer
from trials.weights.names import Shapes


@dataclass(frozen=True, slots=True)
class Looked:
    """What a file holds, or a folder: what its configuration says, and its first weights file."""

    path: str
    folder: dict[str, Any] | None
    inspection: Inspection | None

    def as_json(self) -> dict[str, Any]:
        weights = self.inspection.as_json() if self.inspection else {}
        return weights if self.folder is None else {"folder": self.folder, **weights}


def look(path: Path, arch: str = "", size: int = 32) -> Looked:
    """Look into a file or a Hugging Face folder; nothing in it is run.

    Args:
        path: safetensors, a torch file, or a folder with a config.json.
        arch: compare with this model alone, its name and settings as for ``defend``; empty: with
            all known architectures.
        size: side of the model's input in pixels, where ``arch`` needs one.

    Raises:
        SpecError: it cannot be read, or there is no such architecture.
    """
    candidates = _only(arch, size) if arch else known
    path = path.expanduser()
    if not (path / "config.json").is_file():
        return Looked(str(path), None, inspect(path, candidates))
    said = hugging_face(path)
    weights = [path / name for name in said["weights"]]
    return Looked(str(path), said, inspect(weights[0], candidates) if weights else None)


def _only(arch: str, size: int) -> Callable[[Shapes], Iterable[Candidate]]:
    name, settings = parsed(arch)
    build = catalog.find("models", name)

    def candidates(shapes: Shapes) -> list[Candidate]:
        head = last_layer(shapes)
        with torch.random.fork_rng(devices=[]):
            model = build(shapes[head][0] if head else 1, size, **settings)
        return [(arch, lambda: model)]

    return candidates
