"""Records that no game made, and stores that hold them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from results.store import Store


@pytest.fixture(scope="module")
def running_ray() -> Iterator[None]:
    """A Ray as a sweep starts it, for several of them; what tests Ray's start or end has to come
    before.
    """
    import ray  # noqa: PLC0415

    from sweep.execution.ray_tune.connection import connect  # noqa: PLC0415

    connect(None, ship=False)
    yield
    ray.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as opened:
        opened.add_sweep("tiny", {})
        yield opened
