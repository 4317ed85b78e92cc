"""Filtering: what is removed, where poisoned rows are afterwards, and what the judge says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
from attackers import view_of
from torch import Generator, Tensor

from trials import catalog
from trials.data_views import data_view, untrusted
from trials.datasets import digits
from trials.dependencies import dependencies, filtering_of, graph, training_of, unfiltered
from trials.filtering import FilteringContext, check_rows, context_of, kept_of
from trials.games.filtering import own_rule, play
from trials.metrics import auroc, tpr_at
from trials.poisoning import poisoned
from trials.rejection import from_level, ranked
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import Filtering, MethodConfig, Scalar, SpecError, Victim
from trials.storage.artifacts import Artifacts
from trials.trial_run import Steps
from trials.types import Images, Poisoning
from trials.views import DataView, SampleScores

QUICK: dict[str, Scalar] = {"tracked_epochs": 2, "epochs": 2, "k": 5, "probes": 50, "batch": 64}


def few(n: int = 200) -> Images:
    return digits.load("train", size=8).take(torch.arange(n))


def attack(name: str, **params: Any) -> MethodConfig:
    return catalog.resolve("attacks", MethodConfig(name, params))


def two() -> Poisoning:
    attacks = [attack("badnets", m=40, target=3), attack("badnets", m=20, target=5)]
    return poisoned(few(), attacks, 0, view_of)


def filtered(reject: float | str = 0.4, trusted: float = 0.2, **changes: Any) -> Victim:
    attacks = [[{"name": "badnets", "m": 60}, {"name": "a_blend", "m": 50}]]
    given = {**tiny_sweep.VICTIM, "attacks": attacks, **changes}
    (victim,) = tiny_sweep.sweep(victim=given).victims
    method = MethodConfig("badloss", QUICK)
    filtering = Filtering(method=method, reject=reject, trusted=trusted, seed=0)
    return catalog.resolve_victim(replace(victim, filter=filtering))


# What is removed, and what is left.


def removed(scores: Tensor, share: float, rng: Generator) -> Tensor:
    labels = torch.zeros(len(scores), dtype=torch.int64)
    rows = ranked(scores, labels, len(scores), rng, "global")
    return from_level(rows, rows.top(round(share * len(scores))), 1.0)


def test_the_share_of_the_highest_scores_is_removed() -> None:
    found = torch.tensor([0.0, 5.0, 1.0, 4.0, 2.0])
    assert removed(found, 0.4, Generator()).tolist() == [False, True, False, True, False]
    assert int(removed(found, 0.01, Generator()).sum()) == 0


def test_between_equal_scores_the_generator_decides() -> None:
    found = torch.zeros(1000)
    one, other = (removed(found, 0.5, Generator().manual_seed(s)) for s in (0, 1))
    assert int(one.sum()) == int(other.sum()) == 500
    assert not torch.equal(one, other) and 200 < int(one[:500].sum()) < 300


def test_its_own_rule_is_the_filters_word() -> None:
    mask = torch.tensor([True, False])
    assert torch.equal(own_rule(SampleScores(torch.zeros(2), mask)), mask)
    with pytest.raises(SpecError, match=r"has no rule of its own\. Write a share"):
        own_rule(SampleScores(torch.zeros(2)))


def test_poisoned_rows_that_are_kept_are_found_again() -> None:
    before = two()
    kept = torch.rand(200, generator=Generator().manual_seed(0)) < 0.5
    after = kept_of(before, kept)
    assert len(after.train) == int(kept.sum())
    for old, new in zip(before.implants, after.implants, strict=True):
        left = old.places[kept[old.places]]
        assert 0 < len(left) == len(new.places) < len(old.places)
        assert torch.equal(after.train.x[new.places], before.train.x[left])
        assert torch.equal(after.train.y[new.places], before.train.y[left])
        assert new.goal is old.goal and new.name == old.name


def test_an_attack_of_which_no_row_is_left_is_measured_all_the_same() -> None:
    before = two()
    kept = torch.ones(200, dtype=torch.bool)
    kept[before.implants[0].places] = False
    first, second = kept_of(before, kept).implants
    assert (len(first.places), len(second.places)) == (0, 20)
    assert len(first.goal.cases(few())) > 0


def test_nothing_kept_or_another_sets_mask_is_refused() -> None:
    with pytest.raises(SpecError, match="removes every row: lower reject"):
        kept_of(two(), torch.zeros(200, dtype=torch.bool))
    with pytest.raises(ValueError, match="7 rows were filtered, but there are 200"):
        kept_of(two(), torch.ones(7, dtype=torch.bool))


def test_rows_that_no_filter_can_work_with_are_refused() -> None:
    data = few()
    trusted, train = data.take(torch.arange(50)), data.take(torch.arange(50, 200))
    check_rows(train, trusted)
    with pytest.raises(SpecError, match=r"every row is trusted.*: lower r"):
        check_rows(train.take(torch.arange(0)), trusted)
    with pytest.raises(SpecError, match="untrusted rows have one class"):
        check_rows(train.take(train.y == 3), trusted)
    both = data.take(torch.arange(48, 200))
    with pytest.raises(SpecError, match=r"2 of the untrusted rows are trusted images as well"):
        check_rows(both, trusted)


# The judge.


def context(scores: Tensor, reject: float | str = 0.3) -> tuple[FilteringContext, dict[str, Any]]:
    """A game on two attacks, of which the first 50 rows are trusted; what it saves."""
    poisoning, saved = two(), dict[str, Any]()
    clean = torch.ones(200, dtype=torch.bool)
    clean[poisoning.places] = False
    trusted = clean.nonzero().flatten()[:50]
    rows = torch.ones(200, dtype=torch.bool)
    rows[trusted] = False

    def unused(*_: Any) -> Any:
        raise AssertionError("this filter trains nothing")

    view = DataView(
        train=poisoning.train.take(rows),
        trusted=poisoning.train.take(trusted),
        fresh=unused,
        fit=unused,
        trained=unused,
        keep=unused,
    )
    places = rows.nonzero().flatten()
    found = FilteringContext(
        view=view,
        score=lambda _view, _rng: SampleScores(scores[places]),
        poisoning=poisoning,
        rows=places,
        reject=reject,
        rng=lambda *stages: Generator().manual_seed(len(stages)),
        save=lambda tensors, facts: saved.update(tensors, facts=facts),
    )
    return found, saved


def judged(ctx: FilteringContext) -> dict[str, float]:
    game = Steps(play(ctx))
    assert list(game) == []
    return game.result


def test_scores_that_know_find_all_and_cost_nothing() -> None:
    known = torch.zeros(200)
    known[two().places] = 1.0
    ctx, saved = context(known, reject=60 / 150)
    metrics = judged(ctx)
    for name in ("", "/badnets", "/badnets_2"):
        assert metrics[f"auroc{name}"] == metrics[f"tpr_1{name}"] == metrics[f"tpr_5{name}"] == 1
    assert metrics["removed_poisoned"] == 1 and metrics["removed_clean"] == 0
    assert metrics["kept_min"] == metrics["kept_max"] == 1
    assert metrics["rows"] == 150 and metrics["removed"] == 0.4
    assert (metrics["m/badnets"], metrics["m/badnets_2"]) == (40, 20)
    assert int(saved["kept"].sum()) == 140 and not saved["kept"][two().places].any()


def test_each_attack_and_each_class_has_its_own_numbers() -> None:
    poisoning, known = two(), torch.zeros(200)
    known[poisoning.implants[1].places] = 2.0
    fours = (poisoning.train.y == 4).nonzero().flatten()
    clean = fours[~torch.isin(fours, poisoning.places)]
    known[clean] = 1.0
    ctx, saved = context(known, reject=0.9)
    metrics = judged(ctx)
    assert metrics["auroc/badnets_2"] == 1 > metrics["auroc/badnets"]
    assert metrics["auroc/badnets"] < 0.5  # behind the fours
    assert metrics["kept/4"] == 0 == metrics["kept_min"] < metrics["kept_max"]
    assert saved["kept"][[i for i in range(200) if i not in ctx.rows.tolist()]].all()


def test_losses_that_a_filter_tracks_are_kept_as_medians() -> None:
    poisoning, losses = two(), torch.rand((200, 12), generator=Generator().manual_seed(0))
    first = poisoning.implants[0].places
    losses[first] = 1.0 + torch.arange(12)
    ctx, _ = context(torch.zeros(200))

    def tracking(*_: Any) -> SampleScores:
        return SampleScores(torch.zeros(len(ctx.rows)), losses=losses[ctx.rows])

    metrics = judged(replace(ctx, score=tracking))
    assert [metrics[f"loss/badnets/{e}"] for e in (1, 5, 12)] == [1, 5, 12]
    assert "loss/badnets/11" not in metrics and "loss/badnets_2/10" in metrics
    poisoned = torch.isin(ctx.rows, poisoning.places)
    clean = losses[ctx.rows[~poisoned]][:, 6].double()
    assert metrics["loss/clean/7"] == pytest.approx(float(clean.quantile(0.5)))
    assert metrics["loss_25/clean/7"] == pytest.approx(float(clean.quantile(0.25)))
    assert metrics["loss_75/clean/7"] == pytest.approx(float(clean.quantile(0.75)))
    clean_set = replace(ctx, score=tracking, poisoning=Poisoning(poisoning.train))
    assert not [key for key in judged(clean_set) if key.startswith("loss")]
    assert not [key for key in judged(ctx) if key.startswith("loss")]


def test_a_clean_set_has_no_attack_to_find() -> None:
    ctx, _ = context(torch.rand(200, generator=Generator().manual_seed(0)))
    metrics = judged(replace(ctx, poisoning=Poisoning(two().train)))
    assert not [key for key in metrics if key.startswith(("auroc", "tpr", "m/"))]
    assert metrics["removed"] == metrics["removed_clean"] == 0.3


def test_scores_for_other_rows_are_a_failure() -> None:
    ctx, _ = context(torch.zeros(200))
    with pytest.raises(ValueError, match="7 scores for 150 rows"):
        judged(replace(ctx, score=lambda _view, _rng: SampleScores(torch.zeros(7))))


def test_areas_and_rates_are_those_of_a_count() -> None:
    rng = Generator().manual_seed(0)
    positive = torch.randint(0, 9, (40,), generator=rng).float()
    negative = torch.randint(0, 8, (60,), generator=rng).float()
    pairs = positive[:, None] - negative[None, :]
    assert auroc(positive, negative) == pytest.approx(
        float(((pairs > 0) + (pairs == 0) / 2).mean())
    )
    for fpr in (0.0, 0.05, 0.5):
        allowed = [t for t in range(-1, 9) if (negative > t).double().mean() <= fpr]
        assert tpr_at(positive, negative, fpr) == float((positive > min(allowed)).double().mean())
    with pytest.raises(ValueError, match="both sides"):
        auroc(positive, negative[:0])


# From a victim to the model that is trained on what is kept.


def test_what_a_filtered_victim_builds_on() -> None:
    victim = filtered()
    training, scoring = training_of(victim), filtering_of(victim)
    plain = training_of(unfiltered(victim))
    assert [t.id for t in dependencies(training)] == [plain.id, scoring.id]
    assert [[t.id for t in level] for level in graph([training]).levels()] == [
        [plain.id],
        [scoring.id],
        [training.id],
    ]
    assert scoring.trusted == 0.2 and scoring.roles["filter"].name == "badloss"
    ids = {filtering_of(filtered(**change)).id for change in ({}, {"reject": 0.3})}
    ids |= {filtering_of(filtered(trusted=0.25)).id, filtering_of(filtered("own")).id}
    assert len(ids) == 4
    with pytest.raises(ValueError, match="went through no filter"):
        filtering_of(unfiltered(victim))


def test_the_model_is_trained_on_what_is_kept(tmp_path: Path) -> None:
    runtime, victim = TrialRuntime(Artifacts(tmp_path)), filtered()
    trials = list(graph([training_of(victim)]))
    before, scored, after = (run(trial, runtime) for trial in trials)
    assert [r.status for r in (before, scored, after)] == ["done"] * 3, scored.error
    tensors, _ = runtime.artifacts.load(scored.trial.id)
    kept, rows = tensors["kept"], tensors["rows"]
    assert len(kept) == before.metrics["n_train"] and len(tensors["scores"]) == len(rows)
    assert after.metrics["n_train"] == int(kept.sum())
    assert int((~kept).sum()) == round(0.4 * len(rows)) == round(0.4 * scored.metrics["rows"])
    trusted = torch.ones(len(kept), dtype=torch.bool)
    trusted[rows] = False
    assert kept[trusted].all() and int(trusted.sum()) == round(0.2 * len(kept))
    gone = scored.metrics["removed_poisoned"] * before.metrics["m"]
    assert after.metrics["m"] == pytest.approx(before.metrics["m"] - gone)
    assert {"asr/badnets", "asr/a_blend", "cda"} <= after.metrics.keys()
    whole, left = runtime.poisoning(unfiltered(victim)), runtime.poisoning(victim)
    assert torch.equal(left.train.x, whole.train.x[kept])
    same = runtime.trusted(filtering_of(victim))
    assert torch.equal(same.x, whole.train.x[trusted][_order(whole.train.x[trusted], same.x)])
    again = context_of(filtering_of(filtered(0.1)), runtime)
    files = sorted(p.name for p in tmp_path.iterdir())
    list(Steps(play(again)))
    made = {p.name for p in tmp_path.iterdir()} - set(files)
    assert made == {filtering_of(filtered(0.1)).id}  # the tracking was there


def _order(x: Tensor, like: Tensor) -> Tensor:
    """Where each image of ``like`` lies in ``x``."""
    flat = x.flatten(1).double()
    return torch.cdist(like.flatten(1).double(), flat).argmin(1)


def test_trusted_images_of_a_reserve_lie_outside_the_rows(tmp_path: Path) -> None:
    victim = filtered(trusted=0.1, reserve=0.2)
    runtime, trial = TrialRuntime(Artifacts(tmp_path)), filtering_of(victim)
    rows, view = untrusted(trial, runtime), data_view(trial, runtime)
    assert len(rows) == len(view.train) == len(runtime.poisoning(unfiltered(victim)).train)
    check_rows(view.train, view.trusted)
