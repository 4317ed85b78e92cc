"""What a setting costs: the clean accuracy of the given model under the same repair, or that of the
copies; and the ASR of each kind of trigger.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
import tiny_sweep
import torch
from torch import Generator, nn

from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.dependencies import copy_of
from trials.games import _copy_set
from trials.metrics import accuracy, success
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, Record, Trial
from trials.storage.artifacts import Artifacts
from trials.train import clone
from trials.types import DefenderView, Images

COPIES = 6  # the first kind of trigger twice, the first cut twice
SELF_POISONING = {**tiny_sweep.SELF_POISONING, "attack": "mixed", "scheme": "distilled"}


@pytest.fixture(scope="module")
def mixed() -> Sweep:
    tuning = {"copies": COPIES, "record_every": 2, "delta": 1.0}
    return tiny_sweep.sweep(self_poisoning=SELF_POISONING, tuning=tuning)


@pytest.fixture(scope="module")
def copied(
    mixed: Sweep, artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> TrialRuntime:
    """The victim and six copies."""
    kept = Artifacts(tmp_path_factory.mktemp("copies"))
    victim = tiny_sweep.first(mixed, "training")
    kept.save(victim.id, *artifacts.load(victim.id))
    for i in range(COPIES):
        record = run(copy_of(tiny_sweep.first(mixed, "tuning"), i), TrialRuntime(kept))
        assert record.status == "done", record.error
    return TrialRuntime(kept)


def played(runtime: TrialRuntime, sweep: Sweep, game: str, **settings: Any) -> tuple[Trial, Record]:
    trial = tiny_sweep.first(sweep, "tuning")
    common = {"copies": COPIES, "record_every": 2, **({"delta": 1.0} if game == "tuning" else {})}
    config = catalog.resolve("games", MethodConfig(game, {**common, **settings}))
    trial = replace(trial, game=config)
    record = run(trial, runtime)
    assert record.status == "done", record.error
    return trial, record


def by_hand(runtime: TrialRuntime, trial: Trial, part: str) -> dict[int, float]:
    """The mean CDA of the given model, repaired once for each of the four cuts, by step."""
    ctx, found = runtime.defender(trial), dict[int, list[float]]()
    assert ctx.repair is not None
    for copy in range(4):
        layout = ctx.copy(copy)
        images = ctx.view.trusted.take(getattr(layout, part))
        if trial.game.params["mirrored"] and images.flip:
            mirrored = replace(images, x=images.x.flip(-1))
            images = replace(
                images, x=torch.cat([images.x, mirrored.x]), y=torch.cat([images.y, mirrored.y])
            )
        found.setdefault(0, []).append(accuracy(ctx.view.model, images))
        view = DefenderView(ctx.view.model, ctx.view.trusted.take(layout.fit))
        for step, model in ctx.repair(view, ctx.rng("repair", copy), 2):
            found.setdefault(step, []).append(accuracy(model, images))
    return {step: fmean(each) for step, each in found.items()}


def test_the_cost_is_that_of_the_given_model_under_the_same_setting(
    mixed: Sweep, copied: TrialRuntime
) -> None:
    trial, record = played(copied, mixed, "tuning")
    assert trial.game.params["cost"] == "given"
    cdas = {p.step: p.cda for p in record.curve}
    assert sorted(cdas) == [0, 2, 4, 6]
    assert cdas == pytest.approx(by_hand(copied, trial, "select"), abs=1e-12)
    assert record.metrics["cda0"] == cdas[0]


@pytest.mark.parametrize(("game", "part"), [("tuning", "select"), ("confirmation", "report")])
def test_mirror_images_count_where_training_mirrors(
    mixed: Sweep, copied: TrialRuntime, monkeypatch: pytest.MonkeyPatch, game: str, part: str
) -> None:
    settings = {"mirrored": True, **({"stop_at": 4} if game == "confirmation" else {})}
    _, alone = played(copied, mixed, game, **{**settings, "mirrored": False})
    _, as_alone = played(copied, mixed, game, **settings)  # digits are not mirrored
    assert [p.cda for p in as_alone.curve] == [p.cda for p in alone.curve]
    plain = TrialRuntime.trusted
    monkeypatch.setattr(
        TrialRuntime, "trusted", lambda self, trial: replace(plain(self, trial), flip=True)
    )
    runtime = TrialRuntime(copied.artifacts)
    trial, record = played(runtime, mixed, game, **settings)
    wanted = by_hand(runtime, trial, part)
    assert {p.step: p.cda for p in record.curve} == pytest.approx(
        {p.step: wanted[p.step] for p in record.curve}, abs=1e-12
    )
    assert record.metrics["n_clean"] == alone.metrics["n_clean"]  # distinct images


def test_the_copies_are_repaired_as_far_as_the_given_model_stays_within_delta(
    mixed: Sweep, copied: TrialRuntime
) -> None:
    _, whole = played(copied, mixed, "tuning", cost="both", delta=1.0)
    start, *rest = whole.curve
    assert [p.step for p in rest] == [2, 4, 6]
    losses = {p.step: start.cda - p.cda for p in rest}
    for delta in (0.0, *losses.values(), 1.0):
        _, record = played(copied, mixed, "tuning", delta=delta, patience=3)
        last = max((step for step, loss in losses.items() if loss <= delta + 1e-9), default=0)
        expected = [p for p in whole.curve if p.step <= last]
        for mine, its in zip(record.curve, expected, strict=True):
            rest_of = [replace(p, seconds=0, cda=0, extra={}) for p in (mine, its)]
            assert rest_of[0] == rest_of[1]
            assert mine.cda == pytest.approx(its.cda)  # a mean over cuts, added up in another order
            assert mine.extra == pytest.approx(its.extra)
        assert record.metrics["cda_given"] == pytest.approx(max(p.cda for p in rest))


def test_a_setting_that_costs_too_much_is_not_run_on_the_copies(
    mixed: Sweep, copied: TrialRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    repaired: list[nn.Module] = []

    def ruin(view: DefenderView, rng: Generator, every: int, /) -> Iterator[tuple[int, nn.Module]]:
        repaired.append(view.model)
        model = clone(view.model)
        for parameter in model.parameters():
            parameter.data.zero_()
        yield 2, model

    def in_role(role: str, _: Trial) -> Callable[..., Any] | None:
        return ruin if role == "defense" else None

    monkeypatch.setattr("trials.runtime._in_role", in_role)
    trial, record = played(copied, mixed, "tuning", delta=0.02)
    given = copied.defender(trial).view.model
    assert [model is given for model in repaired] == [True]  # on the first of four cuts
    assert [p.step for p in record.curve] == [0]
    assert record.metrics["cda_given"] < record.metrics["cda0"] - 0.02


@pytest.mark.parametrize(("delta", "cuts"), [(0.02, 1), (0.3, 4)])
def test_what_costs_twice_delta_on_the_first_cut_does_not_run_on_the_others(
    mixed: Sweep, copied: TrialRuntime, monkeypatch: pytest.MonkeyPatch, delta: float, cuts: int
) -> None:
    repaired = list[Images]()

    def spoil(view: DefenderView, rng: Generator, every: int, /) -> Iterator[tuple[int, nn.Module]]:
        repaired.append(view.trusted)
        model = clone(view.model)
        worst = view.trusted.y.bincount().argmax()
        *_, last = (m for m in model.modules() if isinstance(m, nn.Linear))
        last.bias.data[worst] -= 100  # a tenth of the images is lost
        yield 2, model

    def in_role(role: str, _: Trial) -> Callable[..., Any] | None:
        return spoil if role == "defense" else None

    monkeypatch.setattr("trials.runtime._in_role", in_role)
    trial, record = played(copied, mixed, "tuning", delta=delta)
    lost = record.metrics["cda0"] - record.metrics["cda_given"]
    assert 0.04 < lost < 0.3
    given = repaired[: len(repaired) - (COPIES if cuts > 1 else 0)]
    assert len(given) == cuts and (len(record.curve) > 1) == (cuts > 1)
    if cuts == 1:  # what it costs there stands for all
        ctx = copied.defender(trial)
        select = ctx.view.trusted.take(ctx.copy(0).select)
        ((_, model),) = spoil(ctx.view, ctx.rng("repair", 0), 2)
        before, after = (accuracy(m, select) for m in (ctx.view.model, model))
        assert lost == pytest.approx(before - after, abs=1e-12)


@pytest.mark.parametrize("cost", ["given", "both"])
def test_the_reconstructed_trigger_is_measured_on_the_given_model(
    mixed: Sweep, copied: TrialRuntime, cost: str
) -> None:
    trial, record = played(copied, mixed, "tuning", cost=cost, reconstruct=True)
    ctx = copied.defender(trial)
    own, copy = ctx.reconstructed(False), ctx.copy(0)
    assert ctx.reconstructed(False) is own and ctx.repair is not None
    cases = own.goal.cases(ctx.view.trusted.take(copy.select))
    left = {0: success(ctx.view.model, cases)}
    view = DefenderView(ctx.view.model, ctx.view.trusted.take(copy.fit))
    for step, model in ctx.repair(view, ctx.rng("repair", 0), 2):
        left[step] = success(model, cases)
    assert {p.step: p.extra["asr_reconstructed"] for p in record.curve} == left
    assert record.metrics["suspect"] == own.goal.target
    assert record.metrics["mask_share"] == own.share
    assert record.metrics["n_reconstructed"] == len(cases)
    _, plain = played(copied, mixed, "tuning", cost=cost)
    assert not any("asr_reconstructed" in p.extra for p in plain.curve)
    assert [(p.cda, p.asr) for p in plain.curve] == [(p.cda, p.asr) for p in record.curve]


def test_confirmation_costs_the_given_model_on_report_images(
    mixed: Sweep, copied: TrialRuntime
) -> None:
    trial, record = played(copied, mixed, "confirmation", stop_at=4)
    wanted = by_hand(copied, trial, "report")
    assert record.metrics["cda0"] == pytest.approx(wanted[0], abs=1e-12)
    assert record.metrics["cda"] == pytest.approx(wanted[4], abs=1e-12)


@pytest.mark.parametrize(("game", "settings"), [("tuning", {}), ("confirmation", {"stop_at": 4})])
def test_the_copies_cost_stands_beside_it_and_the_asr_is_the_same(
    mixed: Sweep, copied: TrialRuntime, game: str, settings: dict[str, int]
) -> None:
    _, given = played(copied, mixed, game, **settings)
    _, copies = played(copied, mixed, game, cost="copies", **settings)
    assert [p.extra["cda_copies"] for p in given.curve] == [p.cda for p in copies.curve]
    assert [p.asr for p in given.curve] == [p.asr for p in copies.curve]
    assert [p.cda for p in given.curve] != [p.cda for p in copies.curve]
    for point in copies.curve:
        assert "cda_copies" not in point.extra
        assert point.cda == fmean(point.extra[f"cda_{i}"] for i in range(COPIES))


def test_each_kind_of_trigger_has_the_mean_asr_of_its_copies(
    mixed: Sweep, copied: TrialRuntime
) -> None:
    _, record = played(copied, mixed, "tuning")
    for point in record.curve:
        each = [point.extra[f"asr_{i}"] for i in range(COPIES)]
        kinds = {k: v for k, v in point.extra.items() if k.startswith("asr/")}
        assert kinds == {
            "asr/patch": fmean([each[0], each[5]]),
            "asr/adaptive": each[1],
            "asr/warp": each[2],
            "asr/corner": each[3],
            "asr/blend": each[4],
        }
        assert point.asr == pytest.approx(fmean(each), abs=1e-12)


def test_copies_of_one_named_attack_have_no_kinds(sweep: Sweep, runtime: TrialRuntime) -> None:
    record = run(tiny_sweep.first(sweep, "tuning"), runtime)
    assert not [k for k in record.curve[-1].extra if k.startswith("asr/")]


@pytest.mark.parametrize(("cost", "given"), [("given", 4), ("both", 4), ("copies", 0)])
def test_the_given_model_is_repaired_once_a_cut(
    mixed: Sweep, copied: TrialRuntime, monkeypatch: pytest.MonkeyPatch, cost: str, given: int
) -> None:
    seen: list[tuple[nn.Module, int]] = []

    def repair(
        view: DefenderView, rng: Generator, every: int, /
    ) -> Iterator[tuple[int, nn.Module]]:
        seen.append((view.model, hash(view.trusted.x.numpy().tobytes())))
        yield 2, view.model

    def in_role(role: str, _: Trial) -> Callable[..., Any] | None:
        return repair if role == "defense" else None

    monkeypatch.setattr("trials.runtime._in_role", in_role)
    trial, record = played(copied, mixed, "tuning", cost=cost)
    model = copied.defender(trial).view.model
    fits = [fit for one, fit in seen if one is model]
    assert (len(fits), len(set(fits))) == (given, given)
    assert len(seen) == COPIES + given
    assert record.metrics["copies"] == COPIES


def test_with_one_cut_the_given_model_is_repaired_once(
    sweep: Sweep, artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = Artifacts(tmp_path_factory.mktemp("one_cut"))
    victim = tiny_sweep.first(sweep, "training")
    kept.save(victim.id, *artifacts.load(victim.id))
    one = tiny_sweep.sweep(
        self_poisoning={**SELF_POISONING, "folds": 1},
        tuning={"copies": 2, "record_every": 6, "delta": 1.0},
    )
    trial, runtime = tiny_sweep.first(one, "tuning"), TrialRuntime(kept)
    for i in range(2):
        assert run(copy_of(trial, i), runtime).status == "done"
    ctx = runtime.defender(trial)
    assert torch.equal(ctx.copy(0).fit, ctx.copy(1).fit) and ctx.repair is not None
    view = DefenderView(ctx.view.model, ctx.view.trusted.take(ctx.copy(0).fit))
    select = ctx.view.trusted.take(ctx.copy(0).select)
    ((_, model),) = ctx.repair(view, ctx.rng("repair", 0), 6)
    assert run(trial, runtime).curve[-1].cda == accuracy(model, select)


def test_the_models_before_any_repair_are_measured_once_for_all_defenses(
    copied: TrialRuntime, mixed: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, counted = TrialRuntime(copied.artifacts), list[Images]()

    def counting(model: nn.Module, images: Images) -> float:
        counted.append(images)
        return accuracy(model, images)

    monkeypatch.setattr(_copy_set, "accuracy", counting)
    first, again, other = (
        played(runtime, mixed, *words, cost="copies")[1]
        for words in (("tuning",), ("tuning",), ("confirmation",))
    )
    # the second trial of tuning not at step 0; confirmation does at step 0 alone
    assert len(counted) == 2 * len(first.curve) * COPIES
    assert [replace(p, seconds=0) for p in first.curve] == [
        replace(p, seconds=0) for p in again.curve
    ]
    assert [p.step for p in other.curve] == [0] and other.curve[0].cda != first.curve[0].cda
