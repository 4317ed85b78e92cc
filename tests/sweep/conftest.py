"""Records that no game made, and stores that hold them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as opened:
        opened.add_sweep("tiny", {})
        yield opened
