"""Artifacts that are read where they lie, while new ones are kept elsewhere."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trials.storage.artifacts import Artifacts, Loaded
from trials.storage.remote_artifacts import artifacts_at


class OverlayArtifacts:
    """What is made stays in ``folder``; what is not there is read from ``given``, a folder or URI,
    "" for none.
    """

    def __init__(self, folder: str, given: str) -> None:
        self._own, self._given = Artifacts(folder), artifacts_at(given) if given else None
        self.files = self._own.files

    def check(self) -> None:
        self._own.check()

    def has(self, key: str) -> bool:
        return self._own.has(key) or (self._given is not None and self._given.has(key))

    def save(self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self._own.save(key, tensors, facts)

    def load(self, key: str) -> Loaded:
        if self._given is not None and not self._own.has(key):
            return self._given.load(key)
        return self._own.load(key)
