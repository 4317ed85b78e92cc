"""What the games promise: exact curves, stopping, disjoint images, the same record each time."""

import json
import math
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import tiny_sweep
import torch
from planted import trigger_of
from tiny_sweep import outcome
from torch import Generator, nn

from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.games import robustness, tuning
from trials.games._copy_set import CopySet
from trials.json_forms import to_json, trial_from_json
from trials.metrics import accuracy
from trials.run import run
from trials.runtime import DefenderContext, TrialRuntime
from trials.self_poisoning.layout import layout_of
from trials.spec import MethodConfig, Point, Record, Scalar, Trial
from trials.storage.artifacts import Artifacts
from trials.types import DefenderView, Images

Patch = pytest.MonkeyPatch


def of_game(trial: Trial, name: str, **params: Any) -> Trial:
    """The trial in another game, with settings of its own."""
    known = catalog.describe("games", name).settings
    kept = {k: v for k, v in trial.game.params.items() if k in known}
    self_poisoning = None if name == "robustness" else trial.self_poisoning
    return catalog.resolve_trial(
        replace(trial, game=MethodConfig(name, {**kept, **params}), self_poisoning=self_poisoning)
    )


@pytest.fixture
def tuning_trial(sweep: Sweep) -> Trial:
    return tiny_sweep.first(sweep, "tuning")


def test_tuning_records_the_exact_steps(tuning_trial: Trial, runtime: TrialRuntime) -> None:
    record = run(of_game(tuning_trial, "tuning", delta=1.0), runtime)
    assert [p.step for p in record.curve] == [0, 2, 4, 6]
    assert record.metrics["cda0"] == record.curve[0].cda
    assert record.metrics["asr0"] == record.curve[0].asr
    assert record.metrics["copies"] == 1
    assert record.metrics["stopped"] == 0
    assert record.seconds >= record.curve[-1].seconds > 0


def test_the_last_step_is_recorded_although_no_multiple(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    record = run(of_game(tuning_trial, "tuning", delta=1.0, record_every=4), runtime)
    assert [p.step for p in record.curve] == [0, 4, 6]


class Scripted:
    """A defense whose models have the accuracy that a script says: it only tells the panel which to
    report.
    """

    def __init__(self, cdas: list[float]) -> None:
        self.cdas = cdas

    @property
    def measure_of(self) -> Callable[..., Point]:
        return lambda copy_set, step, models, given=None: Point(step, self.cdas[step // 2], 0.5)


@pytest.mark.parametrize(
    ("cdas", "patience", "steps"),
    [
        ([0.9, 0.87, 0.9, 0.9], 0, [0, 2]),
        ([0.9, 0.88, 0.8, 0.9], 0, [0, 2, 4]),  # a loss of exactly delta is accepted
        ([0.9, 0.8, 0.9, 0.9], 1, [0, 2, 4, 6]),
        ([0.9, 0.8, 0.8, 0.9], 1, [0, 2, 4]),
    ],
)
def test_tuning_stops_once_the_loss_stays_above_delta(
    tuning_trial: Trial,
    runtime: TrialRuntime,
    monkeypatch: Patch,
    cdas: list[float],
    patience: int,
    steps: list[int],
) -> None:
    script = Scripted(cdas)
    monkeypatch.setattr(CopySet, "measure", script.measure_of)
    trial = of_game(tuning_trial, "tuning", delta=0.02, patience=patience, cost="both")
    record = run(trial, runtime)
    assert [p.step for p in record.curve] == steps
    assert record.metrics["stopped"] == (len(steps) < 4)


@pytest.fixture
def no_test_set(monkeypatch: Patch) -> None:
    """Whoever loads the test set fails."""
    real = catalog.find

    def find(kind: str, name: str) -> Callable[..., Any]:
        found = real(kind, name)
        if kind != "datasets":
            return found

        def load(split: str, /, **settings: Any) -> Any:
            if split == "test":
                raise AssertionError("the test set was touched")
            return found(split, **settings)

        return load

    monkeypatch.setattr(catalog, "find", find)


@pytest.mark.usefixtures("no_test_set")
def test_no_game_of_the_defender_can_reach_the_test_set(
    sweep: Sweep, tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    trials = [
        tiny_sweep.first(sweep, "self_poison"),
        tuning_trial,
        of_game(tuning_trial, "confirmation", stop_at=4),
    ]
    for trial in trials:
        record = run(trial, runtime)
        assert record.status == "done", record.error
    judged = run(of_game(tuning_trial, "robustness"), runtime)
    assert judged.status == "failed"
    assert "the test set was touched" in str(judged.error)


def test_what_a_defender_is_handed_holds_no_attack(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    ctx = runtime.defender(tuning_trial)
    assert {f.name for f in fields(DefenderContext)} == {
        "view",
        "repair",
        "inspect",
        "copy",
        "reconstructed",
        "once",
        "rng",
        "save",
        "checkpointer",
    }
    assert {f.name for f in fields(DefenderView)} == {"model", "trusted"}
    plain = {f.name for f in fields(type(ctx.copy(0)))}
    assert plain == {"model", "kind", "goal", "fit", "select", "report", "facts"}


def test_fit_select_and_report_are_disjoint_in_every_copy(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    copy = runtime.copy(tuning_trial, 0)
    parts = torch.cat([copy.fit, copy.select, copy.report])
    assert len(parts.unique()) == len(parts) == len(runtime.trusted(tuning_trial))  # type: ignore[no-untyped-call]


def test_seeds_share_the_trusted_and_the_report_images_so_that_none_of_them_chooses(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    first, second = tuning_trial, replace(tuning_trial, seed=tuning_trial.seed + 1)
    assert torch.equal(runtime.trusted(first).x, runtime.trusted(second).x)
    plans = [
        layout_of(runtime.trusted(t), runtime.rng(t), tiny_sweep.first_self_poisoning(t))
        for t in (first, second)
    ]
    assert torch.equal(plans[0].report, plans[1].report)
    chosen = torch.cat([plans[1].fit, plans[1].select])
    assert not set(plans[0].report.tolist()) & set(chosen.tolist())
    x, index = runtime.trusted(first).x[:4], torch.arange(4)
    assert not torch.equal(*(p.goal.trigger(x, index) for p in plans))


def test_the_planted_trigger_is_not_the_attackers(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    x = runtime.trusted(tuning_trial).x[:4]
    theirs = trigger_of(runtime.poisoning(tuning_trial.victim))(x, torch.arange(4))
    assert not runtime.copy(tuning_trial, 0).goal.trigger(x, torch.arange(4)).equal(theirs)


@pytest.mark.parametrize(("game", "part"), [("tuning", "select"), ("confirmation", "report")])
def test_a_game_measures_its_own_part_and_repairs_on_fit(
    tuning_trial: Trial, runtime: TrialRuntime, monkeypatch: Patch, game: str, part: str
) -> None:
    measured: list[int] = []
    fitted: list[int] = []
    copy, trusted = runtime.copy(tuning_trial, 0), runtime.trusted(tuning_trial)
    names = {bytes(x.numpy()): i for i, x in enumerate(trusted.x)}
    from trials.games import _copy_set  # noqa: PLC0415
    from trials.metrics import accuracy as real  # noqa: PLC0415

    def accuracy(model: nn.Module, images: Any) -> float:
        measured.extend(names[bytes(x.numpy())] for x in images.x)
        return real(model, images)

    def repair(
        view: DefenderView, rng: Generator, every: int, /, **_: Any
    ) -> Iterator[tuple[int, nn.Module]]:
        fitted.extend(names[bytes(x.numpy())] for x in view.trusted.x)
        yield 2, view.model

    monkeypatch.setattr(_copy_set, "accuracy", accuracy)
    monkeypatch.setattr("trials.runtime._in_role", lambda role, _: only(role, repair))
    record = run(
        of_game(tuning_trial, game, **({"stop_at": 2} if game == "confirmation" else {})), runtime
    )
    assert record.status == "done", record.error
    assert set(measured) == set(getattr(copy, part).tolist())
    assert set(fitted) == set(copy.fit.tolist())


def test_robustness_frozen_at_a_step_equals_the_free_run_there(
    tuning_trial: Trial, runtime: TrialRuntime, monkeypatch: Patch
) -> None:
    counted = list[int]()

    def counting(model: nn.Module, images: Images) -> float:
        counted.append(len(images))
        return accuracy(model, images)

    monkeypatch.setattr(robustness, "accuracy", counting)
    free = run(of_game(tuning_trial, "robustness", delta=1.0), runtime)
    frozen = run(of_game(tuning_trial, "robustness", delta=0.0, stop_at=4), runtime)
    # test and validation images; the victim itself is measured for the first of them alone
    assert len(counted) == 2 * (len(free.curve) + len(frozen.curve) - 1)
    assert [p.step for p in frozen.curve] == [0, 4]
    at = {p.step: p for p in free.curve}[4]
    assert (frozen.curve[-1].cda, frozen.curve[-1].asr, dict(frozen.curve[-1].extra)) == (
        at.cda,
        at.asr,
        dict(at.extra),
    )


def test_confirmation_ends_at_the_chosen_step(tuning_trial: Trial, runtime: TrialRuntime) -> None:
    record = run(of_game(tuning_trial, "confirmation", stop_at=4), runtime)
    assert [p.step for p in record.curve] == [0, 4]
    assert record.metrics["step"] == 4
    untouched = run(of_game(tuning_trial, "confirmation", stop_at=0), runtime)
    assert untouched.metrics["asr"] == untouched.metrics["asr0"]


@pytest.mark.parametrize("game", ["tuning", "robustness", "confirmation"])
def test_the_same_trial_gives_the_same_record_cold_and_warm(
    tuning_trial: Trial, runtime: TrialRuntime, artifacts: Artifacts, game: str
) -> None:
    trial = of_game(tuning_trial, game, **({"stop_at": 4} if game == "confirmation" else {}))
    cold, warm, other = (
        run(trial, runtime),
        run(trial, runtime),
        run(trial, TrialRuntime(artifacts)),
    )
    assert outcome(cold) == outcome(warm) == outcome(other)


def test_a_defense_that_draws_from_the_global_generator_repeats_too(
    tuning_trial: Trial, runtime: TrialRuntime, monkeypatch: Patch
) -> None:
    drawn: list[float] = []

    def repair(
        view: DefenderView, rng: Generator, every: int, /
    ) -> Iterator[tuple[int, nn.Module]]:
        drawn.append(float(torch.rand(1)))
        yield 2, view.model

    monkeypatch.setattr("trials.runtime._in_role", lambda role, _: only(role, repair))
    run(tuning_trial, runtime)  # loads the victim and the copy
    run(tuning_trial, runtime)  # has them
    half = len(drawn) // 2
    assert half and drawn[:half] == drawn[half:]


def _elsewhere(folder: str, trial: str) -> str:
    torch.set_num_threads(1)
    return json.dumps(
        to_json(run(trial_from_json(json.loads(trial)), TrialRuntime(Artifacts(folder))))
    )


def test_another_process_gives_the_same_record(tuning_trial: Trial, runtime: TrialRuntime) -> None:
    from trials.json_forms import record_from_json  # noqa: PLC0415

    here = run(tuning_trial, runtime)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(
            _elsewhere,
            (str(runtime.artifacts.root), json.dumps(to_json(tuning_trial))),  # type: ignore[attr-defined]
        )
    assert outcome(record_from_json(json.loads(there))) == outcome(here)


def test_training_and_self_poisoning_repeat_bit_for_bit(
    sweep: Sweep, artifacts: Artifacts, tmp_path: Any
) -> None:
    again = Artifacts(tmp_path)
    for game in ("training", "self_poison"):
        trial = tiny_sweep.first(sweep, game)
        run(trial, TrialRuntime(again))
        assert again.load(trial.id)[1]["sha256"] == artifacts.load(trial.id)[1]["sha256"]


def only(role: str, repair: Callable[..., Any]) -> Callable[..., Any] | None:
    """The defense, for the role of the defense."""
    return repair if role == "defense" else None


def _failing(
    trial: Trial, runtime: TrialRuntime, monkeypatch: Patch, repair: Callable[..., Any]
) -> Record:
    monkeypatch.setattr("trials.runtime._in_role", lambda role, _: only(role, repair))
    return run(trial, runtime)


def test_a_defense_that_raises_gives_a_failed_record_with_its_traceback(
    tuning_trial: Trial, runtime: TrialRuntime, monkeypatch: Patch
) -> None:
    def repair(
        view: DefenderView, rng: Generator, every: int, /
    ) -> Iterator[tuple[int, nn.Module]]:
        yield 2, view.model
        raise ZeroDivisionError("on purpose")

    record = _failing(tuning_trial, runtime, monkeypatch, repair)
    assert (record.status, dict(record.metrics)) == ("failed", {})
    assert "ZeroDivisionError: on purpose" in str(record.error)
    assert "in repair" in str(record.error)
    assert [p.step for p in record.curve] == [0]  # what was measured stays


@pytest.mark.parametrize("game", ["tuning", "robustness"])
def test_weights_that_are_nan_fail_and_are_no_accuracy(
    tuning_trial: Trial, runtime: TrialRuntime, monkeypatch: Patch, game: str
) -> None:
    def repair(
        view: DefenderView, rng: Generator, every: int, /
    ) -> Iterator[tuple[int, nn.Module]]:
        from trials.train import clone  # noqa: PLC0415

        model = clone(view.model)
        with torch.no_grad():
            next(model.parameters()).fill_(math.nan)
        yield 2, model

    record = _failing(of_game(tuning_trial, game), runtime, monkeypatch, repair)
    assert record.status == "failed"
    assert "diverged" in str(record.error)
    assert not record.metrics


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_game_that_gives_a_number_that_is_none_has_failed(
    tuning_trial: Trial, runtime: TrialRuntime, monkeypatch: Patch, value: float
) -> None:
    def measure(copy_set: CopySet, step: int, models: list[nn.Module], given: object) -> Point:
        return Point(step, 0.9, value)

    monkeypatch.setattr(CopySet, "measure", measure)
    record = run(tuning_trial, runtime)
    assert record.status == "failed"
    assert f"asr is {value}" in str(record.error)
    assert not record.curve


def test_a_trial_leaves_the_cached_victim_and_copy_alone(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    models = [runtime.defender(tuning_trial).view.model, runtime.copy(tuning_trial, 0).model]
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in models]
    for game in ("tuning", "robustness"):
        assert run(of_game(tuning_trial, game), runtime).status == "done"
    after = [m.state_dict() for m in models]
    assert all(torch.equal(a[k], b[k]) for a, b in zip(before, after, strict=True) for k in a)
    assert not any(m.training for m in models)


@pytest.mark.parametrize(
    ("scheme", "advice"),
    [("distilled", "more steps or a higher lr"), ("late", 'more steps, or scheme = "distilled"')],
)
def test_a_copy_that_does_not_take_the_backdoor_has_failed_and_kept_nothing(
    scheme: str, advice: str, sweep: Sweep, runtime: TrialRuntime
) -> None:
    trial = tiny_sweep.first(sweep, "self_poison")
    given: dict[str, Scalar] = {"scheme": scheme, "steps": 1, "reach": 1.0}
    short = replace(trial, game=catalog.resolve("games", MethodConfig("self_poison", given)))
    record = run(short, runtime)
    assert record.status == "failed"
    assert advice in str(record.error)
    assert not runtime.artifacts.has(short.id)


def test_a_trial_without_its_victim_says_so(tuning_trial: Trial, tmp_path: Any) -> None:
    record = run(tuning_trial, TrialRuntime(Artifacts(tmp_path)))
    assert record.status == "failed"
    assert "the victim" in str(record.error)


def test_a_clean_victim_has_no_asr(runtime: TrialRuntime) -> None:
    clean = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": ["none"]})
    record = run(tiny_sweep.first(clean, "training"), runtime)
    assert record.status == "done", record.error
    assert "asr" not in record.metrics
    assert record.metrics["m"] == 0


def test_games_are_where_the_catalog_finds_them() -> None:
    assert catalog.find("games", "tuning") is tuning.play
    assert catalog.find("games", "robustness") is robustness.play
