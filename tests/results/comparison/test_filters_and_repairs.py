"""Filters beside repairs: points, their front and volume, the best of each kind, in tables, a page
and ``best``.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from synthetic import trial, victim

from results.comparison.filtered_sets import filtered_sets
from results.comparison.filters_and_repairs import WORST, Treatments, treatments, volume
from results.figures import trajectories
from results.figures.filters_and_repairs import drawn
from results.report.filters import filter_section
from results.report.page import render
from results.stats import pareto
from results.tables import filter_volumes, filters_and_repairs, robustness, table3
from results.tables._filters import called
from sweep.cli import filter_views
from trials.spec import Filtering, MethodConfig, Point, Record, Trial, Victim

BEFORE = {"cda": 0.95, "asr": 1.0, "asr/a": 1.0, "asr/b": 0.9}


def of(seed: int = 0, name: str = "", reject: float = 0.4, filter_seed: int = 0) -> Victim:
    plain = replace(
        victim(seed=seed), attacks=(MethodConfig("badnets"), MethodConfig("blended")), seed=seed
    )
    filtering = Filtering(method=MethodConfig(name), reject=reject, trusted=0.01, seed=filter_seed)
    return replace(plain, filter=filtering) if name else plain


def done(found: Trial, metrics: Mapping[str, float], *curve: Point) -> Record:
    return Record(trial=found, status="done", metrics=metrics, curve=curve)


def trained(on: Victim, cda: float, a: float, b: float) -> Record:
    found = Trial(game=MethodConfig("training"), victim=on, method=None, trusted=0.0, seed=on.seed)
    return done(found, {"cda": cda, "asr": max(a, b), "asr/a": a, "asr/b": b})


def scored(on: Victim, removed: float = 0.4) -> Record:
    assert on.filter is not None
    found = Trial(
        game=MethodConfig("filtering"),
        victim=on,
        method=None,
        trusted=0.01,
        seed=on.filter.seed,
    )
    return done(found, {"removed": removed, "auroc": 0.9})


def repaired(on: Victim, defense: str, cda: float, a: float, b: float, seed: int = 0) -> Record:
    """Its second point costs too much on held-out images, so that the first is where it stops."""
    curve = (
        Point(0, 0.95, 1.0, extra={"val_cda": 0.95, "asr/a": 1.0, "asr/b": 0.9}),
        Point(10, cda, max(a, b), extra={"val_cda": 0.95, "asr/a": a, "asr/b": b}),
        Point(20, 0.5, 0.0, extra={"val_cda": 0.5, "asr/a": 0.0, "asr/b": 0.0}),
    )
    return done(trial("robustness", defense, of=on, seed=seed), {}, *curve)


@pytest.fixture
def records() -> list[Record]:
    """Two victims; a filter that finds attack a, a repair that removes attack b."""
    found = []
    for seed in (0, 1):
        good, costly = of(seed, "good"), of(seed, "costly", 0.6)
        found += [trained(of(seed), 0.95, 1.0, 0.9)]
        found += [scored(good), trained(good, 0.94, 0.1, 0.8)]
        found += [scored(costly, 0.6), trained(costly, 0.90, 0.0, 0.1)]
        found += [repaired(of(seed), "fst", 0.945, 0.7, 0.1)]
        found += [repaired(good, "fst", 0.935, 0.1 + 0.1 * seed, 0.05)]
        found += [repaired(costly, "fst", 0.92, 0.0, 0.0)]
    return found


def one(records: list[Record]) -> Treatments:
    (found,) = treatments(records)
    return found


def test_pairs_stand_beside_filters_and_repairs_and_the_least_asr_within_two_points_leads(
    records: list[Record],
) -> None:
    found = one(records)
    assert [called(t) for t in found.found] == [
        "good (40 %), then fst",
        "fst",
        "good (40 %)",
        "nothing",
        "costly (60 %), then fst",
        "costly (60 %)",
    ]
    pair = found.best("pair")
    assert pair is not None and pair is found.found[0]
    assert pair.asr == pytest.approx(0.15) and pair.asr_sd == pytest.approx(0.1 / 2**0.5)
    assert pair.mean_asr == pytest.approx((0.075 + 0.125) / 2)
    assert (pair.cda, pair.removed) == pytest.approx((0.935, 0.4))
    assert pair.loss == pytest.approx(0.015) and pair.within_delta
    alone, repair = found.best("filter"), found.best("repair")
    assert alone and repair and (alone.asr, repair.asr) == pytest.approx((0.8, 0.7))
    assert repair.removed == 0


def test_the_front_is_of_asr_accuracy_and_rows_at_once(records: list[Record]) -> None:
    found = one(records)
    names = {called(t) for t in found.front}
    # the repair beats both filters alone: less is left, at less accuracy and no rows
    assert names == {"nothing", "fst", "good (40 %), then fst", "costly (60 %), then fst"}
    points = [(1 - t.asr) * (1 - t.loss / WORST[1]) * (1 - t.removed) for t in found.front]
    whole = volume(found.found)
    assert max(points) <= whole <= sum(points)
    assert volume(found.of("nothing", "filter")) < whole and volume(found.of("nothing")) == 0


def test_a_treatment_that_misses_a_victim_is_shown_but_leads_nowhere(
    records: list[Record],
) -> None:
    lucky = repaired(of(0, "good"), "anp", 0.95, 0.0, 0.0)
    found = one([*records, lucky])
    assert called(found.found[-1]) == "good (40 %), then anp" and not found.found[-1].whole
    assert found.found[-1] not in found.front
    assert called(found.best("pair") or found.found[-1]) == "good (40 %), then fst"
    row = filters_and_repairs.table([*records, lucky]).iloc[-1]
    assert (row["victims"], row["on the front"]) == (1, False)


def test_seeds_are_averaged_for_each_attack_before_the_largest_counts(
    records: list[Record],
) -> None:
    again = [repaired(of(s), "fst", 0.945, 0.1, 0.7, seed=1) for s in (0, 1)]
    repair = one([*records, *again]).best("repair")
    assert repair and repair.seeds == 2 and repair.asr == pytest.approx(0.4)
    failed = Record(trial=again[0].trial, status="failed", error="Traceback\nValueError: no")
    repair = one([*records, failed, again[1]]).best("repair")
    assert repair and (repair.seeds, repair.failed) == (1, 1)


def test_the_control_that_changes_nothing_is_no_treatment(records: list[Record]) -> None:
    control = [repaired(of(s, "good"), "none", 0.95, 0.0, 0.0) for s in (0, 1)]
    assert one([*records, *control]) == one(records)


def test_repairs_of_filtered_models_are_in_no_table_of_repairs_alone(
    records: list[Record],
) -> None:
    assert set(robustness.table(records)["victim seed"]) == {0, 1}
    assert len(robustness.table(records)) == 2 * 3  # two victims; all attacks, and each
    assert len(table3.table(records)) == 1


def test_tables_have_a_row_a_treatment_and_a_row_a_filter(records: list[Record]) -> None:
    table = filters_and_repairs.table(records)
    assert table["what"].tolist() == ["pair", "repair", "filter", "nothing", "pair", "filter"]
    assert table["within 2 points"].tolist() == [True] * 4 + [False] * 2
    volumes = filter_volumes.table(records).set_index("filter")
    assert volumes.index[0] == filter_volumes.ALL
    assert set(volumes.index[1:]) == {"good", "costly", filter_volumes.NO_FILTER}
    beside = volumes["hypervolume with repairs"]
    assert (beside >= volumes["hypervolume alone"]).all()
    assert beside[filter_volumes.ALL] == pytest.approx(volume(one(records).found), abs=1e-4)
    for module in (filters_and_repairs, filter_volumes):
        assert module.table([]).empty and tuple(module.table([]).columns) == module.COLUMNS


def test_the_page_names_the_best_filter_repair_and_pair(records: list[Record]) -> None:
    section = filter_section(records)
    assert section is not None
    assert section["sentences"] == [
        "cifar10, resnet18, badnets + blended, mean of 2 victims: 100.0 % ASR and 95.0 % CDA "
        "before anything is done.",
        "The best filter, by the judge's order, is good (40 %): at most 80.0 % ASR of any "
        "attack left, 1.0 points of CDA lost, 40.0 % of the rows removed.",
        "The best repair without a filter, by the judge's order, is fst: at most 70.0 % ASR of "
        "any attack left, 0.5 points of CDA lost.",
        "The best pair, by the judge's order, is good (40 %), then fst: at most 15.0 % ASR of "
        "any attack left, 1.5 points of CDA lost, 40.0 % of the rows removed; 55.0 points of ASR "
        "less than fst alone, on 2 of 2 victims.",
    ]
    assert len(section["charts"]) == 1 and section["tables"][0].caption.startswith("Filters, rep")
    page = render(records, title="pairs")
    assert "filters-plane-0" in page and "good (40\u00a0%), then fst" in page


@pytest.mark.parametrize(
    ("a", "cda", "says"),
    [
        (0.9, 0.945, "; no better than fst alone."),
        (0.7, 0.949, "; it leaves as much as fst alone, at more CDA."),
        (0.6997, 0.935, "; it leaves as much as fst alone, at less CDA."),
        (0.2, 0.90, "; no better than fst alone."),
    ],
)
def test_a_pair_is_held_against_the_better_of_its_parts(
    a: float, cda: float, says: str, records: list[Record]
) -> None:
    alone = [r for r in records if r.trial.game.name != "robustness" or not r.trial.victim.filter]
    pairs = [repaired(of(s, "good"), "fst", cda, a, 0.0) for s in (0, 1)]
    section = filter_section([*alone, *pairs])
    assert section is not None and section["sentences"][-1].endswith(says)


def test_filters_without_repairs_keep_their_sentences_and_have_the_figure(
    records: list[Record],
) -> None:
    section = filter_section([r for r in records if r.trial.game.name != "robustness"])
    assert section is not None
    assert len(section["sentences"]) == 2 and "good removes 40.0 %" in section["sentences"][0]
    assert len(section["charts"]) == 1
    assert not section["tables"][0].caption.startswith("Filters, repairs")


def test_colours_are_filters_marks_are_repairs_and_rings_the_best(records: list[Record]) -> None:
    traces = {t.name: t for t in drawn(one(records)).data}
    pair, alone = traces["good (40 %), then fst"], traces["good (40 %)"]
    assert pair.marker.color == alone.marker.color != traces["costly (60 %)"].marker.color
    assert pair.marker.symbol == traces["fst"].marker.symbol != alone.marker.symbol
    assert (pair.x, pair.y) == (pytest.approx((15.0,)), pytest.approx((93.5,)))
    assert traces["best pair"].x == pair.x and traces["best filter"].x == alone.x
    edge = pareto.front([(t.asr, t.cda) for t in one(records).found])
    assert traces["front of all"].x[1:-1] == pytest.approx(tuple(100 * edge[:, 0]))


def test_the_losses_that_a_filter_tracked_are_drawn_once_an_attack_and_filter(
    records: list[Record],
) -> None:
    assert not trajectories.tracked(records)
    tracks = {"loss/clean/1": 2.0, "loss/clean/10": 0.1, "loss/badnets/1": 0.5}
    tracks |= {"loss/badnets/10": 0.0, "loss_25/clean/1": 1.0, "loss_75/clean/1": 3.0}
    tracks |= {"loss_25/clean/10": 0.05, "loss_75/clean/10": 0.5}
    seen = [replace(r, metrics={**r.metrics, **tracks}) for r in records if r.metrics]
    found = trajectories.tracked(seen)
    assert {r.trial.victim.filter.method.name for r in found if r.trial.victim.filter} == {
        *("good", "costly")
    }
    assert {r.trial.victim.seed for r in found} == {0}
    traces = {t.name: t for t in trajectories.drawn(found[0]).data}
    assert traces["badnets"].x == (1, 10) and traces["badnets"].y == (0.5, trajectories.LEAST)
    assert traces["clean rows, median"].y == (2.0, 0.1)
    assert traces["clean rows, quartiles"].y == (1.0, 0.05, 0.5, 3.0)
    section = filter_section(seen)
    assert section is not None and len(section["charts"]) == 1 + 2


def test_best_has_repairs_and_pairs_too(
    records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    filter_views.best(filtered_sets(records), True, records)
    told = json.loads(capsys.readouterr().out)
    pairs = [t for t in told if t.get("repair")]
    assert [(t["filter"], t["overall"]) for t in pairs] == [
        ("good", True),
        (None, True),
        ("costly", False),
    ]
    assert pairs[0]["max_asr"] == pytest.approx(0.15) and pairs[0]["front"]
    filter_views.best(filtered_sets(records), False, records)
    assert "pair, by the judge's order, is good (40 %), then fst" in capsys.readouterr().out
