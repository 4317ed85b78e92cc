"""From records to ρ: which models are compared, what is refused, and what the tables say."""

import dataclasses
import math
from typing import Any

import plane_records
import pytest
from plane_records import ATTACKS, BUDGETS, detected, victim

from results.comparison import detector_scores
from results.comparison.detectability import detections, difference
from results.comparison.detector_scores import resampled
from results.figures import histograms
from results.stats import roc
from results.tables import detectability, detectors
from trials.spec import MethodConfig, Record

CLEAN = [detected(victim(seed=s), float(s)) for s in range(10)]


def attacked(score: float, seed: int = 0, attack: str = "badnets", **extra: Any) -> Record:
    return detected(victim(attack, 50, seed), score, **extra)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return plane_records.sweep(seeds=100, defenses=(), seed=5)


def test_rho_is_what_the_scores_were_made_with(records: list[Record]) -> None:
    found = detections(records)
    assert len(found) == len(ATTACKS) * len(BUDGETS) * 2
    for d in found:
        truth = plane_records.area(
            plane_records.apart(d.victim.attacks[0].name, d.m or 0, d.detector.name)
        )
        low, high = d.rho_interval(draws=400) or (0, 0)
        assert d.rho == pytest.approx(truth, abs=4 * roc.hanley_mcneil(truth, 100, 100))
        assert low < (d.rho or 0) < high
        assert high - low == pytest.approx(4 * roc.hanley_mcneil(truth, 100, 100), rel=0.3)


def test_rho_and_the_rate_at_five_percent_by_hand() -> None:
    (d,) = detections([*CLEAN, attacked(3.5), attacked(9.5, 1)])
    assert d.rho == pytest.approx((0.4 + 1.0) / 2)
    assert d.tpr() == 0.5
    assert (len(d.poisoned), len(d.clean), d.few, d.m) == (2, 10, True, 50)


def test_seed_and_target_are_repetitions_and_other_settings_are_not() -> None:
    # each with its own target
    same = [detected(victim("badnets", 50, s, alpha=1.0), 5.0 + s) for s in range(3)]
    faint = detected(victim("badnets", 50, 0, alpha=0.5), 1.0)
    extra = detected(victim("badnets", 150, 0, alpha=1.0), 2.0)
    found = detections([*CLEAN, *same, faint, extra])
    assert sorted(len(d.poisoned) for d in found) == [1, 1, 3]
    assert all(len(d.clean) == 10 for d in found)
    names = sorted(detectability.table([*CLEAN, *same, faint, extra])["attack"])
    assert names == [
        "badnets (m = 150)",
        "badnets (m = 50), alpha = 0.5",
        "badnets (m = 50), alpha = 1",
    ]


def test_only_clean_models_that_met_the_same_detector_count() -> None:
    other_detector = [detected(victim(seed=s), 99.0, "neural_cleanse") for s in range(3)]
    trial = CLEAN[0].trial
    changed = [
        dataclasses.replace(trial, trusted=0.05),
        dataclasses.replace(trial, method=MethodConfig("weight_decay")),
        dataclasses.replace(trial, detector=MethodConfig("calibrated_inversion", {"steps": 50})),
        dataclasses.replace(
            trial, victim=dataclasses.replace(trial.victim, training=MethodConfig("paper"))
        ),
    ]
    wrong = [Record(trial=t, status="done", metrics={"score": 99.0}) for t in changed]
    (d,) = detections([*CLEAN, attacked(4.5), *other_detector, *wrong])
    assert d.rho == 0.5
    assert len(d.clean) == 10


def test_without_clean_models_there_is_no_rho() -> None:
    (d,) = detections([attacked(1.0), attacked(2.0, 1)])
    assert (d.rho, d.rho_interval(), d.tpr(), d.few) == (None, None, None, True)
    row = detectability.table([attacked(1.0)]).iloc[0]
    assert row["ρ (AUC)"] is None
    assert row["clean models"] == 0
    assert not histograms.figure([attacked(1.0)]).data


def test_a_model_scored_with_several_seeds_counts_once_by_its_mean() -> None:
    twice = [detected(victim("badnets", 50), s, seed=i) for i, s in enumerate((3.0, 6.2))]
    (d,) = detections([*CLEAN, *twice])
    assert len(d.poisoned) == 1
    assert d.rho == 0.5  # 4.6


def test_what_is_not_finite_is_refused_and_counted_and_failures_too() -> None:
    bad = [
        attacked(math.nan, 1),
        attacked(math.inf, 2),
        plane_records.without(attacked(1.0, 3), "score"),
    ]
    failed = dataclasses.replace(attacked(9.9, 4), status="failed", metrics={})
    clean = detected(victim(seed=77), math.nan)
    (d,) = detections([*CLEAN, attacked(3.5), *bad, failed, clean])
    assert (d.refused, d.failed, len(d.poisoned), len(d.clean)) == (4, 1, 1, 10)
    assert d.rho == pytest.approx(0.4)


def test_the_same_models_always_get_the_same_resamples() -> None:
    one = resampled(["b", "a", "c"], 50, 0)
    detector_scores._resampled.cache_clear()  # as in another process
    assert (one == resampled(["a", "b", "c"], 50, 0)).all()
    assert (one != resampled(["a", "b", "c"], 50, 1)).any()
    assert (one != resampled(["a", "b", "d"], 50, 0)).any()
    with pytest.raises(ValueError, match="read-only"):
        one[0, 0] = 9


def test_order_and_repetition_of_records_change_nothing() -> None:
    records = [*CLEAN, *(attacked(s + 0.5, s) for s in range(5)), attacked(2.5, 1, "adv")]
    one, other = detectability.table(records), detectability.table([*records, *records][::-1])
    assert one.to_dict("records") == other.to_dict("records")


def test_finding_the_target_and_the_trigger_stand_apart_from_rho() -> None:
    rows = [
        attacked(3.5, 0, target_rank=1.0, cosine=0.2, iou=0.5),
        attacked(3.5, 1, target_rank=1.5, cosine=0.4),
        attacked(3.5, 2, target_rank=4.0, cosine=math.nan),
    ]
    (d,) = detections([*CLEAN, *rows])
    assert d.located == pytest.approx(1 / 3)
    cosine, iou = d.spread("cosine"), d.spread("iou")
    assert cosine == pytest.approx((0.3, math.sqrt(0.02), 2))
    assert iou == (0.5, None, 1)
    (bare,) = detections([*CLEAN, attacked(3.5)])
    assert (bare.located, bare.located_interval, bare.spread("iou")) == (None, None, None)


def test_a_difference_is_of_the_models_that_both_have_scored() -> None:
    nc = [detected(victim(seed=s), float(s), "neural_cleanse") for s in range(8)]
    both = [attacked(9.5, s) for s in range(4)] + [
        detected(victim("badnets", 50, s), 3.5, "neural_cleanse") for s in range(1, 4)
    ]
    first, second = sorted(detections([*CLEAN, *nc, *both]), key=lambda d: d.detector.name)
    seen = difference(first, second)
    assert seen is not None
    assert (seen.n_poisoned, seen.n_clean) == (3, 8)
    assert seen.delong.value == pytest.approx(1 - 0.5)
    row = detectors.table([*CLEAN, *nc, *both]).iloc[0]
    assert (row["first"], row["second"], row["difference"]) == (
        "calibrated_inversion",
        "neural_cleanse",
        0.5,
    )


def test_the_better_detector_is_found_on_many_models(records: list[Record]) -> None:
    some = [
        r
        for r in records
        if not r.trial.victim.attacks or r.trial.victim.attacks[0].params["m"] == 500
    ]
    frame = detectors.table(some)
    assert len(frame) == len(ATTACKS)
    strong = frame[frame["attack"] == "badnets (m = 500)"].iloc[0]
    assert strong["difference"] > 0
    assert strong["p (DeLong)"] < 0.05
    assert not strong["95 % interval (bootstrap)"].startswith("−")


def test_histograms_show_every_model_of_each_attack_once() -> None:
    records = plane_records.sweep(seeds=6, defenses=())
    chart = histograms.figure(records, detector="neural_cleanse")
    bars = [t for t in chart.data if t.type == "bar"]
    assert len(bars) == 2 * len(ATTACKS)
    assert all(sum(t.y) == pytest.approx(100) for t in bars)
    ticks = [t for t in chart.data if t.type == "scatter"]
    assert all(len(t.x) == 6 for t in ticks)
    titles = [a.text for a in chart.layout.annotations]
    assert all("m = 500" in t for t in titles)
    assert not histograms.figure(records, detector="nobody").data


def test_names_that_try_to_be_markup_are_escaped() -> None:
    bad = "<img src=x>"
    records = [detected(victim(seed=s), float(s), bad) for s in range(3)] + [
        detected(victim("<b>x", 50), 2.0, bad)
    ]
    text = histograms.figure(records).to_json()
    assert "<img" not in text
    assert "<b>x" not in text
