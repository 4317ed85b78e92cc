"""Where each trigger of several attacks leads, as a table and on the page."""

from dataclasses import replace

import pandas as pd
from pages import Page
from synthetic import trial, victim

from results.report.page import render
from results.tables import cross
from trials.spec import MethodConfig, Record

METRICS = {
    "cda": 0.9,
    "asr": 0.8,
    "asr/patch4": 0.8,
    "asr/frequency": 0.5,
    "cross/patch4/frequency": 0.125,
    "cross/frequency/patch4": 0.0,
}


def record(seed: int = 0, metrics: dict[str, float] = METRICS) -> Record:
    attacks = tuple(MethodConfig(n, {"m": 50}) for n in ("patch4", "frequency"))
    both = replace(victim(seed=seed), attacks=attacks)
    return Record(trial=trial("training", "", of=both), status="done", metrics=metrics)


def test_a_row_a_trigger_and_a_column_a_target() -> None:
    table = cross.table([record()]).set_index("trigger")
    wanted = {"patch4": [80.0, 12.5], "frequency": [0.0, 50.0]}
    columns = ["to patch4's target (%)", "to frequency's target (%)"]
    for trigger, shares in wanted.items():
        assert [table[column][trigger] for column in columns] == shares
    assert list(table.columns[-2:]) == columns and set(table["seed"]) == {0}


def test_each_victim_has_its_rows_once() -> None:
    two = [record(0), record(1)]
    table = cross.table(two)
    assert len(table) == 4 and table["victim"].nunique() == 2
    pd.testing.assert_frame_equal(cross.table(two + two), table)


def test_a_victim_of_one_attack_and_one_measured_before_have_none() -> None:
    one = Record(trial=trial("training", ""), status="done", metrics={"cda": 0.9, "asr": 0.8})
    before = {k: v for k, v in METRICS.items() if not k.startswith("cross/")}
    table = cross.table([one, record(metrics=before)])
    assert table.empty and tuple(table.columns) == cross.COLUMNS


def test_the_page_shows_it() -> None:
    text = Page(render([record()], title="two")).read
    assert "Where each trigger leads, before any defense" in text
    assert "to frequency's target (%)" in text and "12.5" in text
    plain = Record(trial=trial("training", ""), status="done", metrics={"cda": 0.9, "asr": 0.8})
    assert "Where each trigger leads" not in Page(render([plain], title="one")).read
