"""One tiny victim and one self-poisoned copy, trained once."""

import pytest
import tiny_sweep
import torch

from sweep.spec.sweep_file import Sweep
from trials.run import run
from trials.runtime import TrialRuntime
from trials.storage.artifacts import Artifacts


@pytest.fixture(scope="session")
def sweep() -> Sweep:
    return tiny_sweep.sweep()


@pytest.fixture(scope="session")
def artifacts(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """The weights of the victim and its copy; tests only read them."""
    torch.set_num_threads(1)
    kept = Artifacts(tmp_path_factory.mktemp("artifacts"))
    runtime = TrialRuntime(kept)
    for game in ("training", "self_poison"):
        record = run(tiny_sweep.first(sweep, game), runtime)
        assert record.status == "done", record.error
    return kept


@pytest.fixture
def runtime(artifacts: Artifacts) -> TrialRuntime:
    return TrialRuntime(artifacts)
