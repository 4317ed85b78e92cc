"""Tables: percent only here, the rule named, the oracle apart, the papers' numbers beside ours."""

import dataclasses

import pandas as pd
import pytest
import synthetic
from synthetic import trial, tuned, victim

from results.figures import fronts as fronts_figure
from results.figures import importance as importance_figure
from results.figures import parallel, tradeoff
from results.reference import load, paper
from results.report.html_table import report_table
from results.selection.labels import percent
from results.tables import (
    failures,
    judged,
    oracle,
    robustness,
    self_poison,
    settings,
    victims,
    winners,
)
from trials.spec import Record

TABLES = (winners, settings, judged, oracle, failures, victims, self_poison, robustness)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = synthetic.sweep(n=4)
    return found + synthetic.judged(found)


@pytest.mark.parametrize("module", TABLES)
def test_no_records_give_an_empty_table_with_its_columns(module: object) -> None:
    frame = module.table([])  # type: ignore[attr-defined]
    assert frame.empty
    assert tuple(frame.columns) == module.COLUMNS  # type: ignore[attr-defined]
    assert report_table(frame, "nothing") is None


@pytest.mark.parametrize("module", TABLES)
def test_every_table_has_rows_and_survives_repetition(
    module: object, records: list[Record]
) -> None:
    frame = module.table(records)  # type: ignore[attr-defined]
    assert not frame.empty
    if module is not failures:
        pd.testing.assert_frame_equal(module.table(records + records), frame)  # type: ignore[attr-defined]


def test_percent_and_points_are_those_of_the_winner() -> None:
    row = winners.table([tuned([(0, 0.95, 0.98), (50, 0.94, 0.034)])]).iloc[0]
    shown = (
        row["η: ASR left (%)"],
        row["CDA (%)"],
        row["CDA lost (pp)"],
        row["ASR before (%)"],
        row["r (%)"],
    )
    assert shown == pytest.approx((3.4, 94.0, 1.0, 98.0, 1.0))
    assert row["sd (pp)"] is None
    assert row["rule"] == "worst_kind_within_delta"


def test_table_five_stands_beside_our_settings_under_our_names() -> None:
    record = tuned(
        [(0, 0.95, 1.0), (50, 0.95, 0.1)],
        "tuning",
        "pivotal_tuning",
        {"lr": 0.03, "kappa": 0.01, "steps": 1000},
    )
    frame = settings.table([record]).set_index("setting")
    assert frame.loc["lr", "Table V of the paper"] == "0.01"
    assert frame.loc["kappa", "Table V of the paper"] == "0.00358"
    assert frame.loc["steps", "chosen here"] == "1000"
    assert frame.loc["lambda_s", "chosen here"] is None
    assert paper.optimum("weight_decay", "cifar10")["lambda_w"] == "0.01"
    assert paper.optimum("weight_decay", "digits") == {}


def test_table_three_is_quoted_for_its_own_cells_only() -> None:
    assert paper.left(victim(m=50), "weight_decay", 0.01) == 0.13
    assert paper.left(victim(m=50), "weight_decay", 0.02) is None
    assert paper.left(victim(m=50, dataset="digits"), "weight_decay", 0.01) is None


def test_judged_shows_each_split_once_and_oracle_stays_in_its_own_table(
    records: list[Record],
) -> None:
    frame = judged.table(records)
    assert set(frame["split"]) == set(judged.SPLITS.values())
    assert set(frame["rule"]) == {"worst_kind_within_delta"}
    assert set(oracle.table(records)["rule"]) == {"oracle"}
    assert all(
        "oracle" in c
        for c in oracle.COLUMNS
        if c in ("oracle η (%)", "oracle CDA (%)", "oracle step")
    )


def test_failures_list_failed_and_pruned_with_the_last_line(records: list[Record]) -> None:
    frame = failures.table(records)
    assert set(frame["status"]) == {"failed", "pruned"}
    assert set(frame[frame["status"] == "failed"]["why"]) == {"ArithmeticError: the model diverged"}
    assert frame[frame["status"] == "pruned"]["why"].isna().all()


def test_a_clean_victim_has_no_asr_rather_than_zero() -> None:
    clean = Record(
        trial=trial("training", "", of=victim("")),
        status="done",
        metrics={"cda": 0.94, "n_clean": 100.0},
    )
    row = victims.table([clean]).iloc[0]
    assert row["ASR (%)"] is None
    assert row["attack"] == "clean"
    attacked = Record(
        trial=trial("training", ""),
        status="done",
        metrics={"cda": 0.94, "asr": 1.0, "n_clean": 100.0},
    )
    page = report_table(victims.table([clean, attacked]), "Victims")
    assert page is not None
    assert any(gap.startswith("ASR (%): a clean victim") for gap in page.gaps)


def test_missing_counts_give_a_dash_with_its_reason_not_a_number() -> None:
    record = dataclasses.replace(tuned([(0, 0.95, 1.0), (50, 0.94, 0.1)]), metrics={})
    counted = tuned([(0, 0.95, 1.0), (50, 0.94, 0.1)], "tuning", "nad")
    page = report_table(winners.table([record, counted]), "Winners")
    assert page is not None
    assert any("number of images is not recorded" in gap for gap in page.gaps)


def test_a_column_of_dashes_is_left_out() -> None:
    bare = dataclasses.replace(tuned([(0, 0.95, 1.0), (50, 0.94, 0.1)]), metrics={})
    page = report_table(winners.table([bare]), "Winners")
    assert page is not None
    names = [name for name, _ in page.headers]
    assert "step" in names and "95 % interval (%)" not in names and "sd (pp)" not in names
    assert all(any(row[i].kind != "gap" for row in page.rows) for i in range(len(names)))
    assert not any("95 % interval" in gap for gap in page.gaps) and "copies –" not in page.shared


def test_a_run_that_stopped_at_step_0_has_no_settings() -> None:
    idle = tuned([(0, 0.95, 0.9), (50, 0.2, 0.1)], "tuning", "bn_refresh", {"steps": 77})
    used = tuned([(0, 0.95, 1.0), (50, 0.94, 0.1)], "tuning", "nad", {"lr": 0.25})
    page = report_table(winners.table([idle, used]), "Winners")
    assert page is not None
    at = [name for name, _ in page.headers].index("settings")
    said = {row[0].text: row[at].text for row in page.rows}
    assert said == {"nad": "lr\u00a0=\u00a00.25", "bn_refresh": "–"}
    assert list(settings.table([idle])["setting"]) == ["stop at step"]


def test_every_reference_file_can_be_read() -> None:
    assert len(load("table3_repair_asr")) == 180
    assert list(load("table5_defense_hparams")[0]) == [
        "defense",
        "parameter",
        "cifar10",
        "imagenet",
    ]
    with pytest.raises(FileNotFoundError):
        load("table9")


def test_percent_has_no_negative_zero() -> None:
    assert (percent(-0.0001), percent(0.034), percent(-0.02)) == ("0.0", "3.4", "-2.0")


def test_figures_draw_every_defense_and_take_no_records_without_failing(
    records: list[Record],
) -> None:
    defenses = {r.trial.method.name for r in records if r.trial.method}
    for draw in (fronts_figure.figure, tradeoff.figure):
        assert {t.name for t in draw(records).data if t.showlegend is not False} == defenses
        assert not draw([]).data
    assert not importance_figure.figure([]).data
    assert parallel.figure(records, defense="nad").data
    assert not parallel.figure(records, defense="none").data


def test_two_cells_are_told_apart_in_a_figure() -> None:
    records = [tuned([(0, 0.95, 1.0)], trusted=r) for r in (0.01, 0.05)]
    assert [t.name for t in tradeoff.figure(records).data if t.name] == [
        "weight_decay, r = 1 %",
        "weight_decay, r = 5 %",
    ]
