"""What a worker tells within a step of Tune's, which hears of a trial only when its step is over.

A step may last hours. The worker leaves its latest word in the key-value store of the cluster's
head, and the driver looks there. No process has to be started for that, and a lost word is no loss.
"""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_put,
)

from trials.reporting import Listener, TrialProgress

LOOK = 2.0  # seconds between two looks at what the workers have told
_NAMESPACE = "poisonsweep_progress"


def post(key: str) -> Listener:
    """Leaves what it is told under the key of a trial."""

    def leave(report: TrialProgress) -> None:
        _internal_kv_put(key, json.dumps(asdict(report)), namespace=_NAMESPACE)

    return leave


def drop(key: str) -> None:
    """The trial has ended."""
    if not ray.is_initialized():  # Ray has gone, and the word with it
        return
    with contextlib.suppress(RayError):
        _internal_kv_del(key, namespace=_NAMESPACE)


class Mailbox(tune.Callback):
    """Looks every few seconds at what the workers have told.

    Args:
        keys: of the trials that run now.
        hear: is told, with a trial's key, what is new.
    """

    def __init__(
        self, keys: Callable[[], list[str]], hear: Callable[[str, TrialProgress], None]
    ) -> None:
        self._keys, self._hear = keys, hear
        self._known: dict[str, bytes] = {}
        self._looked = time.monotonic()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Tune looks after its workers, some ten times a second."""
        if time.monotonic() - self._looked < LOOK:
            return
        keys = self._keys()
        self._known = {key: text for key, text in self._known.items() if key in keys}
        for key in keys:
            with contextlib.suppress(RayError):
                text = _internal_kv_get(key, namespace=_NAMESPACE)
                if text and text != self._known.get(key):
                    self._known[key] = text
                    self._hear(key, TrialProgress(**json.loads(text)))
        self._looked = time.monotonic()
