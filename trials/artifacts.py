"""Weights and facts on disk, one folder an id, written whole or not at all: safetensors and JSON only.

The weights' SHA-256 stands in the facts and is checked on reading, so a truncated or flipped file is one clear
failure and never a silently different model.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from trials.spec import SpecError

STALE = 24 * 3600  # seconds after which an unfinished file has no writer any more
_PART = ".part-"


class Artifacts:
    """A folder of results that other trials build on, named by trial ids."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()

    def check(self) -> None:
        """Make the folder, write to it once, drop what killed writers left. Raises SpecError where that fails."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as problem:
            raise SpecError(
                f"the artifacts folder {str(self.root)!r} cannot be written: {problem.strerror or problem}. "
                "Choose another with --artifacts."
            ) from problem

        for part in self.root.glob(f"{_PART}*"):
            if time.time() - part.stat().st_mtime > STALE:
                shutil.rmtree(part, ignore_errors=True)

    def has(self, key: str) -> bool:
        return (self.root / key / "facts.json").is_file()

    def save(self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Store under ``key``; if another process was first, its artifact stays."""
        blob = save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
        facts = {**facts, "sha256": hashlib.sha256(blob).hexdigest()}
        self.root.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=_PART, dir=self.root))
        try:
            _durably(part / "weights.safetensors", blob)
            _durably(part / "facts.json", json.dumps(facts, indent=1, sort_keys=True).encode())
            part.chmod(0o755)
            part.rename(self.root / key)
        except OSError:
            if not self.has(key):
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def load(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts. Raises OSError where they are absent, ValueError where they are damaged."""
        folder = self.root / key
        text, blob = (folder / "facts.json").read_bytes(), (folder / "weights.safetensors").read_bytes()
        try:
            facts: dict[str, Any] = json.loads(text)
            if hashlib.sha256(blob).hexdigest() != facts["sha256"]:
                raise ValueError("its weights do not match their hash")
        except (ValueError, KeyError, TypeError) as problem:
            again = f"to make it anew, delete {str(folder)!r}"
            raise ValueError(f"artifact {key} is damaged ({problem}); {again}") from problem
        return load_tensors(blob), facts


def _durably(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
