"""One tiny victim and one self-poisoned copy, trained once."""

import pytest
import tiny_sweep
import torch

from sweep.config import Sweep
from trials.artifacts import Artifacts
from trials.bench import Bench
from trials.run import run


@pytest.fixture(scope="session")
def sweep() -> Sweep:
    return tiny_sweep.sweep()


@pytest.fixture(scope="session")
def artifacts(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """The weights of the victim and its copy; tests only read them."""
    torch.set_num_threads(1)
    kept = Artifacts(tmp_path_factory.mktemp("artifacts"))
    bench = Bench(kept)
    for game in ("training", "self_poison"):
        record = run(tiny_sweep.first(sweep, game), bench)
        assert record.status == "done", record.error
    return kept


@pytest.fixture
def bench(artifacts: Artifacts) -> Bench:
    return Bench(artifacts)
