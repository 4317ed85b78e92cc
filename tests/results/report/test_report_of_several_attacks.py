"""The page and the files of a sweep of several attacks."""

import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import plane_records
import pytest
from pages import Page
from synthetic import config, trial, tuned, victim

from results.comparison.transfer import transfers
from results.export import all_tables
from results.export.frames import frame
from results.report.page import render
from trials.spec import MethodConfig, Record


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return plane_records.sweep()


@pytest.fixture(scope="module")
def html(records: list[Record]) -> str:
    return render(records, title="plane")


def test_the_page_names_the_pair_and_draws_the_plane(html: str) -> None:
    text = Page(html).read
    assert "leaves attackers the least room" in text
    assert "several-plane" in html and "several-histograms" in html
    assert "Pairs of defense and detector" in text and "beside the paper's Table II" in text
    assert "Fewer than 20 models a side" not in text


def test_the_page_draws_what_a_repair_costs_at_each_budget(html: str) -> None:
    assert "several-tradeoff-0" in html
    assert "What a repair costs at each budget: pivotal_tuning against badnets" in Page(html).read


def test_a_page_of_single_victims_claims_no_certainty() -> None:
    text = Page(render(plane_records.sweep(seeds=1), title="one each")).read
    assert (
        "says nothing of how far pairs can be told apart" in text and " % of resamples" not in text
    )


def test_what_was_refused_is_said_under_the_plane() -> None:
    made = plane_records.sweep(seeds=2)
    broken = [
        replace(r, metrics={"score": float("nan")})
        if r.trial.detector and [a.name for a in r.trial.victim.attacks] == ["wanet"]
        else r
        for r in made
    ]
    text = Page(render(broken, title="broken")).read
    assert "wanet (m = 500): not in the plane, as no detector's score was measured" in text


def test_few_models_are_warned_of(records: list[Record]) -> None:
    few = [r for r in records if r.trial.victim.seed < 5]
    assert "Fewer than 20 models a side" in Page(render(few, title="plane")).read


def test_one_attack_has_no_such_section() -> None:
    assert "several-" not in render([config(0.1, 0.2)], title="one")


def test_every_table_that_has_rows_is_written_in_three_forms(
    records: list[Record], tmp_path: Path
) -> None:
    written = all_tables.to_tables(records, tmp_path / "tables")
    found = {p.stem for p in written}
    assert (
        {"plane", "detectability", "rivals", "table2", "table3", "trends"}
        <= found
        <= set(all_tables.names())
    )
    assert len(written) == 3 * len(found)
    with (tmp_path / "tables" / "plane.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(pd.read_parquet(tmp_path / "tables" / "plane.parquet")) > 0
    tex = (tmp_path / "tables" / "plane.tex").read_text()
    assert tex.count(r"\\") == len(rows) + 1 and r"\begin{tabular}" in tex


def test_a_folder_that_cannot_be_written_is_one_line(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write to") as refused:
        all_tables.to_tables(records, tmp_path / "file" / "tables")
    assert "\n" not in str(refused.value)


def test_transfer_keeps_planted_attacks_apart() -> None:
    settings = [{"lr": lr} for lr in (0.1, 0.2, 0.3, 0.4)]
    on_copies = {"badnets": (0.1, 0.2, 0.3, 0.4), "wanet": (0.4, 0.3, 0.2, 0.1)}
    records = []
    for attack, etas in on_copies.items():
        for params, eta in zip(settings, etas, strict=True):
            curve = [(0, 0.95, 1.0), (50, 0.94, eta)]
            one = tuned(curve, "tuning", "nad", params, of=victim(""))
            planted = MethodConfig("self_poison", {"attack": attack})
            records.append(
                Record(
                    trial=replace(one.trial, self_poisoning=planted),
                    status="done",
                    curve=one.curve,
                    metrics=one.metrics,
                )
            )
    for params, eta in zip(settings, (0.15, 0.25, 0.35, 0.45), strict=True):
        curve = [(0, 0.95, 1.0), (50, 0.94, eta)]
        records.append(
            tuned(
                curve, "robustness", "nad", params, of=victim("badnets"), game_params={"stop_at": 0}
            )
        )
    found = {
        t.self_poisoning: t.spearman.value
        for t in transfers(records, real_rule="last")
        if t.defense == "nad"
    }
    assert found == {"badnets": 1, "wanet": -1}


def test_a_detector_has_columns_of_its_own_in_the_export(records: list[Record]) -> None:
    inspected = [r for r in records if r.trial.detector]
    table = frame(inspected)
    assert set(table["detector"]) == {r.trial.detector.name for r in inspected if r.trial.detector}
    assert (
        frame([Record(trial=trial("training", ""), status="failed", error="x")])["detector"]
        .isna()
        .all()
    )
