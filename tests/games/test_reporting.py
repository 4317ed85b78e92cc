"""Whoever waits for a trial hears how far each of its loops is, and that changes no record."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep

from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.reporting import TrialProgress, reporter
from trials.run import perform, run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, Record, Scalar, Trial
from trials.storage.artifacts import Artifacts

ROUND = "round 1 of at most 3"
COPY = "copy 1 of 1"
REPAIR = f"{COPY}, repair"
INSPECTION = f"{COPY}, inspection"
# a name for each kind of work: the defense or detector, and its parts with their numbers of steps
DEFENSES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "cosine": ("fine_tuning", {"steps": 7, "schedule": "cosine"}, {COPY: 7}),
    "constant": ("fine_tuning", {"steps": 7}, {COPY: 7}),
    "mask pruning": ("anp", {"iterations": 5}, {f"{COPY}, learning masks": 5}),
    "unlearning": (
        "rnp",
        {"recover_steps": 6, "unlearn_lr": 0.1},
        {f"{COPY}, unlearning, at most": 1000, f"{COPY}, learning masks": 6},
    ),
    "relearning": (
        "ulrl",
        {"steps": 7, "stop": 1.0, "deviations": 1e9},
        {f"{COPY}, unlearning, at most": 1000, f"{COPY}, tuning, as no class is suspected": 7},
    ),
    "two stages": (
        "tsbd",
        {"steps": 7, "stop": 1.0},
        {f"{COPY}, unlearning, at most": 1000, f"{COPY}, tuning": 7},
    ),
    "distillation": (
        "nad",
        {"steps": 7, "teacher_steps": 5},
        {f"{COPY}, teacher": 5, f"{COPY}, student": 7},
    ),
    "inversion": (
        "neural_cleanse",
        {"steps": 7, "steps_per_class": 5},
        {f"{COPY}, inversion": 5, f"{COPY}, unlearning": 7},
    ),
    "soup": (
        "overlay_soup",
        {"steps": 5, "members": 2, "u": 1.5},
        {f"{COPY}, member 1 of 2": 5, f"{COPY}, member 2 of 2": 5},
    ),
    "adversarial": ("sau", {"steps": 7}, {COPY: 7}),
    "rounds": ("i_bau", {"rounds": 2}, {f"{COPY}, round 1 of 2": 11, f"{COPY}, round 2 of 2": 11}),
}
DETECTORS: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "masks": ("neural_cleanse", {"steps": 5}, {INSPECTION: 5}),
    "compared": ("calibrated_inversion", {"steps": 5}, {REPAIR: 6, INSPECTION: 5}),
}


def told(trial: Trial, runtime: TrialRuntime) -> tuple[list[TrialProgress], Record]:
    """All that a listener hears of a trial, and its record."""
    heard: list[TrialProgress] = []
    running = perform(trial, runtime)
    with reporter.heard_by(heard.append):
        heard += [r for r in running.reports() if isinstance(r, TrialProgress)]
    return heard, running.record


def steps_of(heard: list[TrialProgress], part: str) -> set[tuple[int, int]]:
    return {(report.step, report.steps) for report in heard if report.part == part}


@pytest.fixture(autouse=True)
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.reporting.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("trials.run.PROGRESS_SECONDS", 0.0)


def with_defense(sweep: Sweep, name: str, params: dict[str, Any]) -> Trial:
    method = catalog.resolve("defenses", MethodConfig(name, {"batch": 16, **params}))
    trial = tiny_sweep.first(sweep, "tuning")
    to_its_end: dict[str, Scalar] = {"patience": 100, "cost": "both"}
    patient = MethodConfig("tuning", {**trial.game.params, **to_its_end})
    return replace(trial, game=patient, method=method)


def with_detector(sweep: Sweep, name: str, params: dict[str, Any]) -> Trial:
    tuning = tiny_sweep.first(sweep, "tuning")
    trial = Trial(
        game=MethodConfig("detector_tuning", {"copies": 1}),
        victim=tuning.victim,
        method=MethodConfig("fine_tuning", {"steps": 6, "batch": 16}),
        trusted=tuning.trusted,
        seed=tuning.seed,
        detector=MethodConfig(name, {"batch": 8, **params}),
        self_poisoning=tuning.self_poisoning,
    )
    return catalog.resolve_trial(trial)


def check(heard: list[TrialProgress], parts: dict[str, int], record: Record) -> None:
    assert record.status == "done", record.error
    for part, steps in parts.items():
        mine = [report for report in heard if report.part == part]
        assert {report.steps for report in mine} == {steps}, {report.part for report in heard}
        assert mine[0].step == 1
        assert mine[-1].step == steps or part.endswith("at most")
        losses = [report.loss for report in mine if report.loss is not None]
        assert len(losses) == len(mine)
        assert all(map(math.isfinite, losses))
    shares = [report.done for report in heard if report.done is not None]
    assert len(shares) == len(heard)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert shares[-1] == pytest.approx(1)


@pytest.mark.parametrize("kind", DEFENSES)
def test_a_defense_tells_step_of_how_many_and_loss(
    sweep: Sweep, runtime: TrialRuntime, kind: str
) -> None:
    name, params, parts = DEFENSES[kind]
    trial = with_defense(sweep, name, params)
    heard, record = told(trial, runtime)
    check(heard, parts, record)
    assert tiny_sweep.outcome(record) == tiny_sweep.outcome(run(trial, runtime))


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_detector_tells_step_of_how_many_and_loss(
    sweep: Sweep, runtime: TrialRuntime, kind: str
) -> None:
    name, params, parts = DETECTORS[kind]
    trial = with_detector(sweep, name, params)
    heard, record = told(trial, runtime)
    check(heard, parts, record)
    assert tiny_sweep.outcome(record) == tiny_sweep.outcome(run(trial, runtime))


def test_a_training_tells_step_of_how_many_and_loss(sweep: Sweep, tmp_path: Path) -> None:
    trial = tiny_sweep.first(sweep, "training")
    heard, record = told(trial, TrialRuntime(Artifacts(tmp_path)))
    assert all(report.loss is not None and math.isfinite(report.loss) for report in heard)
    assert heard[-1].step == heard[-1].steps
    assert [report.done for report in heard] == [r.step / r.steps for r in heard]
    assert record.status == "done", record.error


def test_a_copys_poisoning_tells_step_of_how_many_and_loss(
    sweep: Sweep, artifacts: Artifacts, runtime: TrialRuntime
) -> None:
    trial = tiny_sweep.first(sweep, "self_poison")
    before = artifacts.load(trial.id)[1]["sha256"]
    heard, record = told(trial, runtime)
    check(heard, {ROUND: 60}, record)
    assert steps_of(heard, ROUND) == {(step, 60) for step in range(1, 61)}
    assert artifacts.load(trial.id)[1]["sha256"] == before


def test_copies_in_lockstep_are_one_share(sweep: Sweep, runtime: TrialRuntime) -> None:
    from trials.games._copy_set import CopySet  # noqa: PLC0415

    trial = with_defense(sweep, "fine_tuning", {"steps": 4})
    ctx = runtime.defender(trial)
    twice = replace(ctx, copy=lambda _: ctx.copy(0))
    heard: list[TrialProgress] = []
    reporter.begin()
    with reporter.heard_by(heard.append):
        for _ in CopySet(twice, 2, "select").repairs(2):
            pass
    assert [(r.part[:6], r.step) for r in heard] == [
        (f"copy {copy}", step)
        for copy, step in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (1, 4), (2, 3), (2, 4))
    ]
    assert [report.done for report in heard] == [(i + 1) / 8 for i in range(8)]


def test_a_repair_that_is_stopped_early_counts_to_where_it_stops(
    sweep: Sweep, runtime: TrialRuntime
) -> None:
    trial = with_defense(sweep, "fine_tuning", {"steps": 50})
    params = {"copies": 1, "stop_at": 4, "record_every": 2}
    game = catalog.resolve("games", MethodConfig("confirmation", params))
    heard, record = told(replace(trial, game=game), runtime)
    assert record.metrics["step"] == 4
    assert steps_of(heard, COPY) == {(step, 4) for step in range(1, 5)}
    assert [r.done for r in heard if r.done is not None][-1] == 1
    back = steps_of(heard, f"retuning repaired {COPY}")  # how much of the work it is nobody knows
    assert len(back) > 1 and back == {(step, len(back)) for step in range(1, len(back) + 1)}
    assert steps_of(heard, f"between poisoned and repaired {COPY}") == {
        (i, 11) for i in range(1, 12)
    }
    assert heard[-1].done is None


def test_crafting_adversarial_poison_tells_how_far_it_is(sweep: Sweep, tmp_path: Path) -> None:
    training = tiny_sweep.first(sweep, "training")
    attack = catalog.resolve("attacks", MethodConfig("adv", {"m": 20, "epochs": 1}))
    trial = replace(training, victim=replace(training.victim, attacks=(attack,)))
    heard, record = told(trial, TrialRuntime(Artifacts(tmp_path)))
    assert record.status == "done", record.error
    surrogate = [report for report in heard if report.part.endswith("surrogate")]
    assert [report.step for report in surrogate] == list(range(1, surrogate[0].steps + 1))
    assert all(report.loss is not None for report in surrogate)
    assert steps_of(heard, "perturbing images") >= {(16, 20), (20, 20)}


def test_reports_are_as_rare_as_asked(
    sweep: Sweep, runtime: TrialRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trials.reporting.REPORT_SECONDS", 1000.0)
    heard, _ = told(with_defense(sweep, "fine_tuning", {"steps": 7}), runtime)
    assert [report.step for report in heard] == [1]


def test_a_listener_that_raises_does_not_touch_the_trial(
    sweep: Sweep, runtime: TrialRuntime
) -> None:
    trial, heard = with_defense(sweep, "fine_tuning", {"steps": 7}), list[TrialProgress]()

    def broken(report: TrialProgress) -> None:
        heard.append(report)
        raise BrokenPipeError

    running = perform(trial, runtime)
    with reporter.heard_by(broken):
        assert list(running.reports())
    assert len(heard) == 1
    assert tiny_sweep.outcome(running.record) == tiny_sweep.outcome(run(trial, runtime))
