"""What the chaos tests share: random moments, and a sweep that nothing disturbed."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from databases import Server
from harness import Run, Undisturbed, undisturbed_run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They are slow, all of them, and a busy machine is slower."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def rng(chaos_seed: int, request: pytest.FixtureRequest) -> Random:
    print(f"seed {chaos_seed}")
    return Random(f"{chaos_seed} {request.node.name}")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    found = undisturbed_run(Run(tmp_path_factory.mktemp("undisturbed")))
    assert len(found.records) == 34
    return found


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A server of its own, as it is stopped under everybody."""
    server = Server()
    server.start()
    yield server
    server.remove()
