"""A trigger of a kind that is not learned gives way to another draw, from the given model anew."""

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest
import tiny_sweep

from sweep.spec.sweep_file import Sweep
from trials.games import self_poison
from trials.metrics import success
from trials.reporting import TrialProgress, reporter
from trials.run import run
from trials.runtime import DefenderContext, TrialRuntime
from trials.self_poisoning import layout, triggers
from trials.self_poisoning.layout import Layout
from trials.self_poisoning.triggers import DRAWS, Kind
from trials.spec import MethodConfig, Point, Record, Trial
from trials.storage.artifacts import Artifacts


def victim_alone(sweep: Sweep, artifacts: Artifacts, folder: Path) -> Artifacts:
    kept, victim = Artifacts(folder), tiny_sweep.first(sweep, "training")
    kept.save(victim.id, *artifacts.load(victim.id))
    return kept


@pytest.fixture
def kept(sweep: Sweep, artifacts: Artifacts, tmp_path: Path) -> Artifacts:
    return victim_alone(sweep, artifacts, tmp_path / "kept")


@pytest.fixture
def other(sweep: Sweep, artifacts: Artifacts, tmp_path: Path) -> Artifacts:
    return victim_alone(sweep, artifacts, tmp_path / "other")


def weights(kept: Artifacts, trial: Trial) -> str:
    return str(kept.load(trial.id)[1]["sha256"])


def failure(record: Record) -> str:
    assert record.status == "failed"
    return str(record.error).strip().splitlines()[-1]


def test_a_trigger_that_is_not_learned_gives_way_to_another(sweep: Sweep, kept: Artifacts) -> None:
    trial, points = tiny_sweep.redrawn_copy(sweep), list[Point]()
    record = run(trial, TrialRuntime(kept), points.append)
    assert record.status == "done", record.error
    assert record.metrics["unlearned"] == record.metrics["redrawn"] == 1
    assert [p.step for p in points] == [0, 10, 20, 0, 10, 20]
    assert record.curve == tuple(points[3:])
    assert points[2].asr < 0.6 <= points[5].asr == record.metrics["asr"]
    # from the given model anew
    assert record.curve[0].cda == record.metrics["cda_before"]
    assert record.curve[0].asr == record.metrics["asr_before"]
    assert record.metrics["steps"] == 20


def test_the_copy_is_what_its_own_draw_alone_gives(
    sweep: Sweep, kept: Artifacts, other: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step of the trigger before it is left in the weights."""
    trial = tiny_sweep.redrawn_copy(sweep)
    record = run(trial, TrialRuntime(kept))
    drawn = self_poison._draws

    def second(ctx: DefenderContext, game: MethodConfig) -> Iterator[tuple[Layout, int]]:
        return islice(drawn(ctx, game), 1, None)

    monkeypatch.setattr(self_poison, "_draws", second)
    alone = run(trial, TrialRuntime(other))
    assert alone.metrics == {k: v for k, v in record.metrics.items() if k != "unlearned"}
    assert weights(other, trial) == weights(kept, trial)


def test_a_tuning_trial_gets_the_trigger_that_was_learned(sweep: Sweep, kept: Artifacts) -> None:
    trial, runtime = tiny_sweep.redrawn_copy(sweep), TrialRuntime(kept)
    record = run(trial, runtime)
    assert record.metrics["unlearned"] == 1
    settings = {k: v for k, v in trial.game.params.items() if k != "copy"}
    tuning = tiny_sweep.first(tiny_sweep.sweep(self_poisoning=settings), "tuning")
    copy = TrialRuntime(kept).copy(tuning, int(trial.game.params["copy"]))
    cases = copy.goal.cases(runtime.trusted(trial).take(copy.select))
    assert success(copy.model, cases) == record.metrics["asr"]
    assert copy.goal.target == record.metrics["target"]


def test_after_all_draws_the_failure_says_how_many_were_tried(
    sweep: Sweep, kept: Artifacts
) -> None:
    trial, points = tiny_sweep.redrawn_copy(sweep, reach=1.0), list[Point]()
    record = run(trial, TrialRuntime(kept), points.append)
    assert failure(record) == (
        f"RuntimeError: the planted backdoor reached an ASR of {points[-1].asr:.3f} in 20 steps, "
        "not 1, with the last of 3 triggers that were tried: give self-poisoning more steps or a "
        "higher lr, or lower its reach"
    )
    assert [p.step for p in points] == 3 * [0, 10, 20]
    assert record.curve == tuple(points[6:])
    assert not kept.has(trial.id)


@pytest.mark.parametrize("hope", [0.0, 0.5, 1.0])
def test_a_round_that_taught_little_is_the_last_but_for_the_last_trigger(
    sweep: Sweep, kept: Artifacts, hope: float
) -> None:
    points = list[Point]()
    trial = tiny_sweep.redrawn_copy(sweep, reach=1.0, rounds=2, hope=hope)
    run(trial, TrialRuntime(kept), points.append)
    begun = [i for i, p in enumerate(points) if p.step == 0]
    draws = [points[i:j] for i, j in pairwise([*begun, len(points)])]
    after_one = [next(p.asr for p in draw if p.step == 20) for draw in draws]
    expected = [40 if asr >= hope else 20 for asr in after_one[:2]]
    assert [draw[-1].step for draw in draws] == [*expected, 40]
    assert min(after_one[:2]) < 0.5


def unlearnable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind of the third copy does nothing to an image."""
    draw = DRAWS["warp"].draw
    still = Kind("wanet", lambda rng, width: {**draw(rng, width), "strength": 0.0})
    monkeypatch.setattr(triggers, "DRAWS", {**DRAWS, "warp": still})
    monkeypatch.setattr(layout, "DRAWS", triggers.DRAWS)


def test_of_kinds_in_turn_one_that_is_not_learned_gives_way_to_a_patch(
    sweep: Sweep, kept: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlearnable(monkeypatch)
    trial, points = tiny_sweep.redrawn_copy(sweep, attack="mixed"), list[Point]()
    record = run(trial, TrialRuntime(kept), points.append)
    assert record.status == "done", record.error
    assert (record.metrics["unlearned"], record.metrics["fallback"]) == (4, 1)
    assert [p.step for p in points] == 5 * [0, 10, 20]
    tuning = tiny_sweep.first(
        tiny_sweep.sweep(
            self_poisoning={k: v for k, v in trial.game.params.items() if k != "copy"}
        ),
        "tuning",
    )
    copy = TrialRuntime(kept).copy(tuning, 2)
    assert copy.kind == "patch" and copy.goal.target == record.metrics["target"]
    cases = copy.goal.cases(TrialRuntime(kept).trusted(trial).take(copy.select))
    assert success(copy.model, cases) == record.metrics["asr"] >= 0.6


def test_a_kind_that_was_asked_for_gives_way_to_no_other(
    sweep: Sweep, kept: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlearnable(monkeypatch)
    record = run(tiny_sweep.redrawn_copy(sweep, attack="warp"), TrialRuntime(kept))
    assert "with the last of 3 triggers that were tried" in failure(record)


def test_a_named_attack_is_tried_once(sweep: Sweep, kept: Artifacts) -> None:
    trial, points = tiny_sweep.redrawn_copy(sweep, attack="badnets", reach=1.0), list[Point]()
    record = run(trial, TrialRuntime(kept), points.append)
    assert failure(record).endswith(
        "in 20 steps, not 1: give self-poisoning more steps or a higher lr, or lower its reach"
    )
    assert [p.step for p in points] == [0, 10, 20]


def test_a_trigger_that_is_learned_at_once_gives_the_record_that_it_gave_without_redraws(
    sweep: Sweep, kept: Artifacts, other: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = tiny_sweep.redrawn_copy(sweep, reach=0.1)
    record = run(trial, TrialRuntime(kept))
    monkeypatch.setattr(self_poison, "N_REDRAWS", 0)
    assert tiny_sweep.outcome(record) == tiny_sweep.outcome(run(trial, TrialRuntime(other)))
    assert weights(kept, trial) == weights(other, trial)
    assert record.metrics["redrawn"] == 0 and "unlearned" not in record.metrics


def test_whoever_waits_hears_at_which_trigger_it_is(
    sweep: Sweep, kept: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trials.reporting.REPORT_SECONDS", 0.0)
    heard: list[TrialProgress] = []
    with reporter.heard_by(heard.append):
        run(tiny_sweep.redrawn_copy(sweep), TrialRuntime(kept))
    parts = list(dict.fromkeys(report.part for report in heard))
    assert parts == ["round 1 of at most 1", "trigger 2, round 1 of at most 1"]
