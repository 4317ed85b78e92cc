"""A person who waits for a training hears how far it is, whatever runs it."""

import os
import re
from pathlib import Path

import pytest
import tiny_sweep
from programs import Program

from results.store import Store
from sweep.commands.run import TimeLeft
from sweep.console.progress import PROGRESS_VARIABLE, ConsoleProgress, progress_seconds
from sweep.console.running import Running
from sweep.console.terminal import Plain
from sweep.execution.progress import Progress
from trials.spec import Point, Record, SpecError, Trial
from trials.trial_run import TrialProgress

EPOCHS = 20
TRAINING = {
    "game": "training",
    "victim": {
        "dataset": "digits",
        "model": {"name": "resnet18", "width": 8},
        "training": {"name": "fast", "epochs": EPOCHS, "batch": 64, "peak": 0.2},
        "attacks": [{"name": "badnets", "m": 60}],
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "workers"),
    [
        pytest.param(["--local"], 1, id="inline"),
        pytest.param(["--local"], 2, id="pool"),
        pytest.param([], 2, id="ray", marks=pytest.mark.ray),
    ],
)
def test_a_training_tells_epoch_loss_and_time_left(
    tmp_path: Path, words: list[str], workers: int
) -> None:
    spec = {**TRAINING, "name": "long", "compute": {"device": "cpu", "workers": workers}}
    (tmp_path / "long.toml").write_text(tiny_sweep.toml(spec))
    env = {**os.environ, PROGRESS_VARIABLE: "0.5", "OMP_NUM_THREADS": "1"}
    program = Program(["-m", "sweep.cli", "run", "long.toml", *words], tmp_path, env)
    out, err = program.communicate(300)
    assert program.returncode == 0, err
    assert "ran 1 trials (0 failed, 0 pruned)" in out
    told = re.findall(
        rf"^training digits \w{{16}}: epoch (\d+) of {EPOCHS}, step (\d+) of (\d+), loss [\d.e-]+, "
        r"running for \d+ \w+, about \d+ \w+ left of it$",
        err,
        re.MULTILINE,
    )
    assert told, err
    for epoch, step, steps in told:
        assert int(step) * EPOCHS == int(epoch) * int(steps)
    assert re.search(r"^victims: 0 done, .* 1 running, .* left of this stage$", err, re.MULTILINE)


@pytest.fixture
def trial() -> Trial:
    return tiny_sweep.first(tiny_sweep.sweep(), "training")


def test_the_time_left_is_that_of_the_steps_between_reports(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("sweep.console.running.time.monotonic", lambda: clock[0])
    running, progress = Running(), Progress(running={trial.id: trial})
    running.take(progress)
    for now, step in ((100.0, 10), (110.0, 20)):  # loading torch had taken 90 of the first seconds
        clock[0] = now
        progress.trainings[trial.id] = TrialProgress(step, 40, 0.5)
        running.take(progress)
    clock[0] = 115.0
    (standing,) = running.standings(progress)
    assert standing.left == 15.0
    assert str(standing) == (
        f"training digits {trial.id}: epoch 2 of 4, step 20 of 40, loss 0.5, running for 2 min, "
        "about 15 s left of it"
    )
    progress.running.clear()
    running.take(progress)
    assert not list(running.standings(progress))


def test_a_defense_tells_its_step_of_how_many() -> None:
    trial = tiny_sweep.first(tiny_sweep.sweep(), "tuning")
    progress = Progress(running={trial.id: trial}, points={trial.id: Point(4, 0.9, 0.25)})
    running = Running()
    running.take(progress)
    (standing,) = running.standings(progress)
    assert f"step {4} of 6, ASR 0.250, CDA 0.900" in str(standing)


def test_a_terminal_shows_a_bar(trial: Trial) -> None:
    console = Plain(stderr=True, force_terminal=True, width=120)
    progress = Progress(stage=["victims"], planned=1, running={trial.id: trial})
    progress.trainings[trial.id] = TrialProgress(20, 40, 0.5)
    with console.capture() as said:
        reporter = ConsoleProgress("tiny", "min_asr_within_delta", console=console)
        reporter("progress", trial, progress, None)
        console.print(reporter._table(progress))
    assert "━" * 12 in said.get()
    assert "step 20 of 40, loss 0.5" in said.get()


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf"])
def test_an_interval_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, given)
    with pytest.raises(SpecError, match=f"{PROGRESS_VARIABLE} must be a number .* got '{given}'"):
        progress_seconds()


def test_what_is_left_of_the_sweep_is_told_from_what_is_measured(tmp_path: Path) -> None:
    sweep = tiny_sweep.sweep()
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        store.add_sweep(sweep.name, {})
        assert TimeLeft(sweep, store, 2)() == ""
        done = tiny_sweep.first(sweep, "tuning")
        store.put(
            Record(trial=done, status="done", curve=(Point(0, 0.9, 0.5),), seconds=40.0), sweep.name
        )
        assert re.match(
            r"sweep tiny: about 20 s left, besides what is not measured yet \(victims, .*\)$",
            TimeLeft(sweep, store, 2)(),
        )
