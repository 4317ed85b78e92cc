"""Keeps Ray's workers between two trials, so that the next stage need not start new ones."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from ray.tune.execution import tune_controller

# a worker without a trial ends after this time, as others may want its share of the cluster
IDLE_SECONDS = 60.0
_controller: Any = tune_controller  # Any: its cache of workers is private to Tune


@contextlib.contextmanager
def kept(waits: Callable[[], bool]) -> Iterator[None]:
    """Where no worker is wanted, Tune keeps one; in this block it keeps all, unless another trial
    wants their share.

    They go after a minute, and at once where ``waits()`` says that nothing of ours is left to run
    but what depends on others. With a Ray that has no such cache nothing changes.
    """
    usual = getattr(_controller, "_ObjectCache", None)
    if usual is None:
        yield
        return
    _controller._ObjectCache = lambda **given: cache(usual, waits, **given)
    try:
        yield
    finally:
        _controller._ObjectCache = usual


def cache(usual: Any, waits: Callable[[], bool], **given: Any) -> Any:
    """Tune's cache of workers, by the share of the cluster that each holds, with another rule for
    which it keeps.
    """

    class Idle(usual):  # type: ignore[misc]
        latest = 0.0

        def cache_object(self, key: Any, obj: Any) -> bool:
            # set for every worker: also one that Tune keeps by its own rule is idle from now on
            self.latest = time.monotonic()
            if self._awaited_by_others(key) or waits():
                return bool(super().cache_object(key, obj))
            self._cached_objects[key].append(obj)
            self._num_cached_objects += 1
            return True

        def flush_cached_objects(self, force_all: bool = False) -> Generator[Any, None, None]:
            everything = force_all or waits() or time.monotonic() - self.latest > IDLE_SECONDS
            if everything or any(
                objs and self._awaited_by_others(key) for key, objs in self._cached_objects.items()
            ):
                yield from super().flush_cached_objects(everything)

        def _awaited_by_others(self, key: Any) -> bool:
            """True where a trial waits that wants another share than ``key``."""
            return any(number for k, number in self._max_num_objects.items() if k != key)

    return Idle(**given)


def dropped(controller: Any) -> None:
    """Let all idle workers go: one was found dead, as when its node went, and nobody looks after
    them.
    """
    cleanup = getattr(controller, "_cleanup_cached_actors", None)
    if cleanup is not None:
        cleanup(force_all=True)
