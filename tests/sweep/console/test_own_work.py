"""A process that runs a trial itself tells how far it has come."""

import pytest
import tiny_sweep

from sweep.console.own_work import described, telling
from trials.reporting import TrialProgress, reporter
from trials.run import run
from trials.runtime import TrialRuntime
from trials.storage.artifacts import Artifacts


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISONSWEEP_PROGRESS_SECONDS", "1e-9")
    monkeypatch.setattr("trials.reporting.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("trials.run.PROGRESS_SECONDS", 0.0)


@pytest.mark.parametrize("game", ["training", "self_poison", "tuning"])
def test_a_trial_that_this_process_runs_tells_step_and_time_left(
    game: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sweep, said = tiny_sweep.sweep(), list[str]()
    runtime = TrialRuntime(Artifacts(tmp_path_factory.mktemp("artifacts")))
    before = {"tuning": ["training", "self_poison"], "self_poison": ["training"]}.get(game, [])
    for need in before:
        assert run(tiny_sweep.first(sweep, need), runtime).status == "done"
    with telling("trial x", said.append):
        assert run(tiny_sweep.first(sweep, game), runtime).status == "done"
    assert said and all(line.startswith("trial x: ") for line in said)
    assert any(" of " in line and "loss " in line for line in said)
    assert "about 0 s left of it" in said[-1]


def test_it_says_nothing_before_its_time_and_nothing_once_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = list[str]()
    monkeypatch.setenv("POISONSWEEP_PROGRESS_SECONDS", "1000")
    with telling("x", said.append):
        reporter.report(1, 2, 0.5)
    reporter.report(2, 2, 0.5)
    assert said == []


def test_the_time_left_is_by_the_share_that_is_done() -> None:
    loop = TrialProgress(step=25, steps=100, loss=0.123456, part="copy 1 of 2", done=0.25)
    assert described(loop, 20.0) == (
        "copy 1 of 2, step 25 of 100, loss 0.123, running for 20 s, about 60 s left of it"
    )
    unknown = TrialProgress(step=1, steps=4, loss=None)
    assert described(unknown, 1.0) == "step 1 of 4, running for 1 s"
