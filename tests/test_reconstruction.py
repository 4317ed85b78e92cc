"""The trigger that is reconstructed from a backdoored model."""

from dataclasses import replace

import pytest
import tiny_sweep
import torch

from trials.dependencies import training_of
from trials.metrics import success
from trials.reconstruction import reconstruct
from trials.run import run
from trials.runtime import TrialRuntime, generator
from trials.spec import SpecError, Trial
from trials.storage.artifacts import Artifacts

BACKDOORED = {
    **tiny_sweep.VICTIM,
    "training": {"name": "fast", "epochs": 15, "batch": 64, "peak": 0.2},
    "attacks": [{"name": "badnets", "m": 150, "target": 3}],
}


@pytest.fixture(scope="module")
def suspect(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialRuntime, Trial]:
    """A small network that learned a patch."""
    runtime = TrialRuntime(Artifacts(tmp_path_factory.mktemp("suspect")))
    trial = tiny_sweep.first(tiny_sweep.sweep(victim=BACKDOORED), "tuning")
    record = run(training_of(trial.victim), runtime)
    assert record.metrics["asr"] > 0.9
    return runtime, trial


def test_the_reconstructed_trigger_works_and_is_alike_in_every_call(
    suspect: tuple[TrialRuntime, Trial],
) -> None:
    runtime, trial = suspect
    view = runtime.defender(trial).view
    before = [p.clone() for p in view.model.state_dict().values()]
    found = reconstruct(view.model, view.trusted, generator(0, "a"))
    cases = found.goal.cases(view.trusted)
    assert success(view.model, cases) > 0.8
    assert (
        cases.x.dtype == torch.uint8
        and not (view.trusted.y[cases.places] == found.goal.target).any()
    )
    again = reconstruct(view.model, view.trusted, generator(0, "a"))
    assert (
        torch.equal(again.goal.cases(view.trusted).x, cases.x) and again.share == found.share <= 1
    )
    assert all(map(torch.equal, before, view.model.state_dict().values()))


def test_it_is_made_once_for_all_processes_that_share_the_artifacts(
    suspect: tuple[TrialRuntime, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, trial = suspect
    first = runtime.defender(trial).reconstructed()
    monkeypatch.setattr("trials.runtime.reconstruct", None)  # whoever calls it fails
    other = TrialRuntime(runtime.artifacts)
    found = other.defender(trial).reconstructed()
    assert (found.target, found.share) == (first.target, first.share)
    assert torch.equal(found.mask, first.mask) and torch.equal(found.pattern, first.pattern)
    with pytest.raises(TypeError):  # of another seed
        other.defender(replace(trial, seed=trial.seed + 1)).reconstructed()


def test_it_needs_a_repair_of_the_given_model() -> None:
    with pytest.raises(SpecError, match="reconstruct measures the given model: it needs cost"):
        tiny_sweep.sweep(tuning={"copies": 1, "cost": "copies", "reconstruct": True})
