"""A person who waits for a training hears how far it is, whatever runs it."""

import io
import os
import re
import time
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
from trials.reporting import TrialProgress
from trials.spec import Point, Record, SpecError, Trial

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
    out, err = program.communicate()
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


LONG = {"steps": 1500, "batch": 64, "schedule": "cosine"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "workers"),
    [
        pytest.param(["--local"], 1, id="inline"),
        pytest.param(["--local"], 2, id="pool"),
        pytest.param([], 2, id="ray", marks=pytest.mark.ray),
    ],
)
def test_a_defense_that_is_judged_at_its_end_tells_step_loss_and_time_left(
    tmp_path: Path, words: list[str], workers: int
) -> None:
    defense = {"name": "fine_tuning", "profile": "small", "limit": 1, "fixed": LONG}
    compute = {"device": "cpu", "workers": workers}
    spec = {**tiny_sweep.table(defenses=[defense], compute=compute), "name": "long"}
    (tmp_path / "long.toml").write_text(tiny_sweep.toml(spec))
    env = {**os.environ, PROGRESS_VARIABLE: "0.5", "OMP_NUM_THREADS": "1"}
    program = Program(["-m", "sweep.cli", "run", "long.toml", *words], tmp_path, env)
    out, err = program.communicate()
    assert program.returncode == 0, err
    assert "(0 failed, 0 pruned)" in out
    told = re.findall(
        r"^tuning fine_tuning \w{16}: copy 1 of 1, step (\d+) of 1500, loss [\d.e-]+, .* "
        r"about \d+ \w+ left of it$",
        err,
        re.MULTILINE,
    )
    assert told, err
    assert re.search(r"^sweep long: .*not measured yet", err, re.MULTILINE)


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
        progress.loops[trial.id] = TrialProgress(step, 40, 0.5, done=step / 40)
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


def test_a_defense_tells_its_step_of_how_many_and_its_last_point() -> None:
    trial = tiny_sweep.first(tiny_sweep.sweep(), "tuning")
    progress = Progress(running={trial.id: trial}, points={trial.id: Point(4, 0.9, 0.25)})
    progress.loops[trial.id] = TrialProgress(5, 6, 0.5, "copy 1 of 1", done=5 / 6)
    running = Running()
    running.take(progress)
    (standing,) = running.standings(progress)
    said = "copy 1 of 1, step 5 of 6, loss 0.5, at step 4 ASR 0.250 and CDA 0.900, running for 0 s"
    assert str(standing) == f"tuning weight_decay {trial.id}: {said}"


def test_a_method_that_reports_points_alone_has_no_number_of_steps() -> None:
    trial = tiny_sweep.first(tiny_sweep.sweep(), "tuning")
    assert trial.method and trial.method.params["steps"] == 6
    # of a pruning, say, a step is a channel
    progress = Progress(running={trial.id: trial}, points={trial.id: Point(60, 0.9, 0.25)})
    running = Running()
    running.take(progress)
    (standing,) = running.standings(progress)
    assert standing.said == "at step 60 ASR 0.250 and CDA 0.900"
    assert standing.done is None


def test_a_trial_that_begins_again_is_timed_anew(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("sweep.console.running.time.monotonic", lambda: clock[0])
    running, progress = Running(), Progress(running={trial.id: trial})
    for now, step in ((0.0, 1), (10.0, 36), (20.0, 4), (30.0, 8)):  # its worker was lost at 36
        clock[0] = now
        progress.loops[trial.id] = TrialProgress(step, 40, 0.5, done=step / 40)
        running.take(progress)
    (standing,) = running.standings(progress)
    assert standing.left == pytest.approx(80)


def test_plain_output_tells_each_interval_what_is_left_of_the_trial_and_of_the_sweep(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, "0.2")
    said = io.StringIO()
    console = Plain(file=said, force_terminal=False)
    progress = Progress(stage=["victims"], planned=1, running={trial.id: trial})
    left = "sweep tiny: about 7 s left"
    reporter = ConsoleProgress("tiny", "min_asr_within_delta", console=console, left=lambda: left)
    with reporter:
        for step in range(1, 13):
            progress.loops[trial.id] = TrialProgress(step, 40, 0.5, done=step / 40)
            reporter("progress", trial, progress, None)
            time.sleep(0.1)
    lines = said.getvalue().splitlines()
    trials = [
        x for x in lines if re.search(r"step \d+ of 40, loss 0.5, .* about \d+ s left of it$", x)
    ]
    assert len(trials) >= 4
    assert len([x for x in lines if x == left]) >= 4
    assert len([x for x in lines if re.search(r"^victims: .* left of this stage$", x)]) >= 4


def test_a_terminal_shows_a_bar(trial: Trial) -> None:
    console = Plain(stderr=True, force_terminal=True, width=120)
    progress = Progress(stage=["victims"], planned=1, running={trial.id: trial})
    progress.loops[trial.id] = TrialProgress(20, 40, 0.5, done=0.5)
    with console.capture() as said:
        reporter = ConsoleProgress("tiny", "min_asr_within_delta", console=console)
        reporter("progress", trial, progress, None)
        console.print(reporter._table(progress))
    assert "━" * 12 in said.get()
    assert "step 20 of 40, loss 0.5" in said.get()


def test_a_terminal_shows_what_is_left_of_the_sweep(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.console.progress.REFRESH", 0.1)
    said, left = io.StringIO(), "sweep tiny: about 7 s left"
    console = Plain(file=said, force_terminal=True, width=120)
    progress = Progress(stage=["victims"], planned=1, running={trial.id: trial})
    reporter = ConsoleProgress("tiny", "min_asr_within_delta", console=console, left=lambda: left)
    with reporter:
        reporter("start", trial, progress, None)
        time.sleep(0.5)
    shown = said.getvalue()
    assert left in shown
    assert left not in shown[shown.rindex("tiny: victims") :]  # it is over


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf"])
def test_an_interval_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, given)
    with pytest.raises(SpecError, match=f"{PROGRESS_VARIABLE} must be a number .* got '{given}'"):
        progress_seconds()


def test_what_is_left_of_the_sweep_is_told_from_what_is_measured(tmp_path: Path) -> None:
    sweep = tiny_sweep.sweep()
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        store.add_sweep(sweep.name, {})
        unmeasured = r"what is not measured yet \(victims, self-poisoned copies, .* more\)$"
        told = TimeLeft(sweep, store, 2)()
        assert re.match(rf"sweep tiny: what is left of this stage, and {unmeasured}", told)
        done = tiny_sweep.first(sweep, "tuning")
        store.put(
            Record(trial=done, status="done", curve=(Point(0, 0.9, 0.5),), seconds=40.0), sweep.name
        )
        assert re.match(
            r"sweep tiny: about 20 s left, besides what is not measured yet \(victims, .*\)$",
            TimeLeft(sweep, store, 2)(),
        )
