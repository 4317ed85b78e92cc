"""Artifacts at a URI, of which each node fetches what it needs once.

An artifact is complete once its metadata file, written last, exists; it names the file of weights.
A writer that is killed leaves weights that nothing names. A node keeps the weights it has
seen by their hash, so that what it reads is what the facts say, whoever made it when.
"""

import re
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trials.spec import SpecError
from trials.storage.artifacts import (
    Artifacts,
    ArtifactStore,
    Damaged,
    Loaded,
    packed,
    tensors_of,
    told,
    written,
)
from trials.storage.blobs import (
    BlobStore,
    LocalBlobStore,
    RemoteBlobStore,
    is_uri,
    masked,
)
from trials.storage.node_cache import VARIABLE, alone, folder

if TYPE_CHECKING:
    from torch import Tensor


def artifacts_at(where: str) -> ArtifactStore:
    """The artifacts in a folder or at a URI. Raises SpecError for a URI that cannot be used."""
    return RemoteArtifacts(where) if is_uri(where) else Artifacts(where)


class RemoteArtifacts:
    """Artifacts at a URI that fsspec knows, with copies on this node's disk."""

    def __init__(self, uri: str) -> None:
        self._said = masked(uri).rstrip("/")
        self.files: BlobStore = RemoteBlobStore(uri)
        self._folder = folder() / "artifacts"

    def check(self) -> None:
        try:
            self.files.put("writable", b"")
            self.files.drop("writable")
        except OSError as problem:
            raise SpecError(
                f"the artifacts at {self._said!r} cannot be written: {problem}. Choose others "
                "with --artifacts."
            ) from problem

    def has(self, key: str) -> bool:
        return self.files.has(f"{key}/facts.json")

    def save(self, key: str, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> None:
        """Store under ``key``; if another process was first, its artifact stays. Raises OSError."""
        blob, facts = packed(tensors, facts)
        if self.has(key):
            return
        name = f"weights-{facts['sha256'][:16]}.safetensors"  # two writers' files never mix
        self.files.put(f"{key}/{name}", blob)
        self.files.put(f"{key}/facts.json", written({**facts, "weights": name}))
        self._keep(f"{facts['sha256']}.safetensors", blob)

    def load(self, key: str) -> Loaded:
        """Tensors and facts.

        Raises OSError where they are absent, Damaged where they are damaged.
        """
        text = self.files.get(f"{key}/facts.json")
        try:
            facts = told(text)
            if not re.fullmatch("[0-9a-f]{64}", facts["sha256"]):
                raise ValueError("its facts hold no hash")
            return self._near(key, facts), facts
        except (FileNotFoundError, ValueError) as problem:
            raise Damaged(key, problem, f"{self._said}/{key}") from problem

    def _near(self, key: str, facts: Mapping[str, Any]) -> "dict[str, Tensor]":
        """The weights from this node's disk; the first of its workers that asks fetches them, the
        others wait.
        """
        name = f"{facts['sha256']}.safetensors"
        path = self._folder / name
        if (found := _copied(path, facts)) is not None:
            return found
        with ExitStack() as held:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(alone(path))
            except OSError as problem:
                text = (
                    f"The cache folder {str(self._folder)!r} cannot be used ({problem}); "
                    "artifacts are fetched anew"
                )
                warnings.warn(
                    f"{text} for every trial. Set {VARIABLE} to another folder.", stacklevel=2
                )
            if (found := _copied(path, facts)) is None:
                blob = self.files.get(f"{key}/{facts.get('weights', 'weights.safetensors')}")
                found = tensors_of(blob, facts)
                self._keep(name, blob)
            return found

    def _keep(self, name: str, blob: bytes) -> None:
        with suppress(OSError):  # this node's disk is full: it fetches again
            LocalBlobStore(self._folder).put(name, blob)


def _copied(path: Path, facts: Mapping[str, Any]) -> "dict[str, Tensor] | None":
    """This node's copy, unless it has none or a damaged one."""
    try:
        return tensors_of(path.read_bytes(), facts)
    except (OSError, ValueError):
        return None
