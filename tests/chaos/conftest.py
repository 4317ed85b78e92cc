"""What the chaos tests share: the moments' seed, a sweep that nothing disturbed, and the figures that they count."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from databases import Server
from harness import Run, Undisturbed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They are slow, all of them, and a busy machine is slower."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def chaos_seed(pytestconfig: pytest.Config) -> int:
    """The seed of all random moments; ``--chaos-seed`` repeats them as far as a scheduler can be repeated."""
    given = pytestconfig.getoption("--chaos-seed")
    return secrets.randbelow(2**31) if given is None else int(given)


@pytest.fixture
def rng(chaos_seed: int, request: pytest.FixtureRequest) -> Random:
    print(f"seed {chaos_seed}")
    return Random(f"{chaos_seed} {request.node.name}")


@pytest.fixture
def count(request: pytest.FixtureRequest, chaos_seed: int) -> Callable[..., None]:
    """Adds a line of figures to the end of the tests' output, and to the file of ``--figures``."""
    began = time.monotonic()

    def add(what: str, **figures: Any) -> None:
        line = {"test": request.node.name, "what": what, "seed": chaos_seed, **figures}
        line["took"] = round(time.monotonic() - began, 1)
        request.node.user_properties.append(("chaos", line))
        file = request.config.getoption("--figures")
        if file is not None:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    return add


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    run, began = Run(tmp_path_factory.mktemp("undisturbed")), datetime.now(UTC)
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
