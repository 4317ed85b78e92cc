"""Weights and facts on disk, one folder an id, written whole or not at all: safetensors and JSON
only.

The weights' SHA-256 stands in the facts, and the facts' own beside it. Both are checked on reading,
so a truncated or flipped file is one clear failure and never a silently different model.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from safetensors import SafetensorError

from trials.spec import SpecError
from trials.storage.blobs import NO_ROOM, STALE, BlobStore, LocalBlobStore
from trials.whole import durably

if TYPE_CHECKING:  # a driver only asks which artifacts exist, and need not load torch
    from torch import Tensor

_PART = ".part-"
Loaded: TypeAlias = "tuple[dict[str, Tensor], dict[str, Any]]"


class Damaged(ValueError):
    """An artifact that is there and cannot be trusted.

    Says which one, and how to have it made anew.
    """

    def __init__(self, key: str, what: object, where: str) -> None:
        again = f"to make it anew, delete {where!r} and run again with --retry-failed"
        super().__init__(f"artifact {key} is damaged ({what}); {again}")


class ArtifactStore(Protocol):
    """Results that other trials build on, named by trial ids; ``files`` lie beside them."""

    files: BlobStore

    def check(self) -> None:
        """Write something and delete it. Raises SpecError where that fails."""

    def has(self, key: str) -> bool: ...

    def save(self, key: str, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> None:
        """Store under ``key``; if another process was first, its artifact stays. Raises OSError."""

    def load(self, key: str) -> Loaded:
        """Tensors and facts.

        Raises OSError where they are absent, Damaged where they are damaged.
        """
        ...


class Artifacts:
    """Artifacts in a folder of this machine, or one that it has mounted."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()
        self.files: BlobStore = LocalBlobStore(self.root)

    def check(self) -> None:
        """Make the folder, write to it once, drop what killed writers left.

        Raises SpecError where that fails.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as problem:
            raise SpecError(
                f"the artifacts folder {str(self.root)!r} cannot be written: "
                f"{problem.strerror or problem}. "
                "Choose another with --artifacts."
            ) from problem

        for part in self.root.glob(f"{_PART}*"):
            if time.time() - part.stat().st_mtime > STALE:
                shutil.rmtree(part, ignore_errors=True)

    def has(self, key: str) -> bool:
        """Whether there is one, perhaps damaged: a folder appears whole, so one that lacks a file
        has lost it.
        """
        return (self.root / key).exists()

    def save(self, key: str, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> None:
        """Store under ``key``; if another process was first, its artifact stays. Raises OSError."""
        blob, told = packed(tensors, facts)
        part = None
        try:
            part = self.root / f"{_PART}{uuid.uuid4().hex}"
            part.mkdir(parents=True)
            durably(part / "weights.safetensors", blob)
            durably(part / "facts.json", written(told))
            part.rename(self.root / key)
        except OSError as problem:
            if not self.has(key):
                raise OSError(_unsaved(key, problem, str(self.root))) from problem
        finally:
            if part is not None:
                shutil.rmtree(part, ignore_errors=True)

    def load(self, key: str) -> Loaded:
        """Tensors and facts.

        Raises OSError where they are absent, Damaged where they are damaged.
        """
        folder = self.root / key
        if not folder.exists():
            raise FileNotFoundError(f"there is no artifact {str(folder)!r}")
        try:
            facts = told((folder / "facts.json").read_bytes())
            return tensors_of((folder / "weights.safetensors").read_bytes(), facts), facts
        except (OSError, ValueError) as problem:
            raise Damaged(key, problem, str(folder)) from problem


def packed(
    tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]
) -> tuple[bytes, dict[str, Any]]:
    """The weights' bytes, and the facts with their hash."""
    from safetensors.torch import save  # noqa: PLC0415  (loads torch)

    blob = save(apart(tensors))
    return blob, {**facts, "sha256": hashlib.sha256(blob).hexdigest()}


def apart(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The tensors on the CPU; of tied weights, which have one memory, each has its own."""
    found, seen = dict[str, "Tensor"](), set[int]()
    for name, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if memory in seen else plain
        seen.add(memory)
    return found


def written(facts: Mapping[str, Any]) -> bytes:
    """The facts as a file, their own hash among them; ``told`` undoes it."""
    return json.dumps({**facts, "facts_sha256": _digest(facts)}, indent=1, sort_keys=True).encode()


def told(text: bytes) -> dict[str, Any]:
    """The facts in a file. Raises ValueError where they are not what was written."""
    facts = json.loads(text)
    if not isinstance(facts, dict) or not isinstance(facts.get("sha256"), str):
        raise ValueError("its facts hold no hash")
    if facts.pop("facts_sha256", None) != _digest(facts):
        raise ValueError("its facts do not match their hash")
    return facts


def tensors_of(blob: bytes, facts: Mapping[str, Any]) -> "dict[str, Tensor]":
    """The weights. Raises ValueError where they are not those of the facts."""
    if hashlib.sha256(blob).hexdigest() != facts["sha256"]:
        raise ValueError("its weights do not match their hash")
    from safetensors.torch import load  # noqa: PLC0415  (loads torch)

    try:
        return load(blob)
    except SafetensorError as problem:
        raise ValueError(f"its weights cannot be read: {problem}") from problem


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _unsaved(key: str, problem: OSError, where: str) -> str:
    said = f"artifact {key} could not be saved in {where!r}: {problem.strerror or problem}"
    if problem.errno in NO_ROOM:
        full = (
            "disk is full"
            if problem.errno == errno.ENOSPC
            else "quota, or the limit on a file's size, is used up"
        )
        return f"{said}; the {full}: make room, then run again with --retry-failed"
    return said
