"""What the chaos tests share: random moments, and a sweep that nothing disturbed."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import warm
from databases import Server
from harness import Run, Undisturbed


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
    """By a driver that is a fork, like those that are killed; test_what_is_counted.py has it start as a user does."""
    run, here = Run(tmp_path_factory.mktemp("undisturbed")), Path(__file__).parent
    warm.Program(["-c", ""], here, os.environ).wait()  # so that its server has loaded
    began = datetime.now(UTC)
    assert "ran 34 trials (0 failed, 0 pruned), 0 were in the store." in run.complete()
    assert sorted(run.started()) == sorted(run.records())
    return Undisturbed(run.records(), (datetime.fromisoformat(run.journal()[0]["time"]) - began).total_seconds())


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A server of its own, as it is stopped under everybody."""
    server = Server()
    server.start()
    yield server
    server.remove()
