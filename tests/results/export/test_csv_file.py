"""What a stranger named something is text in a spreadsheet, never a formula."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from results.export.all_tables import to_tables
from results.export.frames import to_file
from trials.spec import MethodConfig, Record

Make = Callable[..., Record]
FORMULAS = [
    "=1+1",
    "+cmd",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\n=1",
    "-",
    '=HYPERLINK("http://x")',
    "＝1",
]
NUMBERS = ["-0.5", "+1", "-1e-05", "-.5", "+1.9%", "-3 %"]


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def named(record: Record, name: str) -> Record:
    assert record.trial.method is not None
    method = MethodConfig(name, {**record.trial.method.params, "norm": name})
    return dataclasses.replace(record, trial=dataclasses.replace(record.trial, method=method))


def test_formulas_are_quoted_and_numbers_stay_numbers(make_record: Make, tmp_path: Path) -> None:
    records = [named(make_record(i), text) for i, text in enumerate(FORMULAS + NUMBERS)]
    to_file(records, tmp_path / "x.csv")
    found = [row["set.norm"] for row in cells(tmp_path / "x.csv")]
    assert found == [f"'{text}" for text in FORMULAS] + NUMBERS
    assert [row["defense"] for row in cells(tmp_path / "x.csv")] == found
    assert pd.read_csv(tmp_path / "x.csv")["set.norm"].tolist() == found


def test_parquet_keeps_the_text_as_it_is(make_record: Make, tmp_path: Path) -> None:
    to_file([named(make_record(), "=1+1")], tmp_path / "x.parquet")
    assert pd.read_parquet(tmp_path / "x.parquet")["defense"].tolist() == ["=1+1"]


def test_columns_that_a_stranger_named_are_quoted_too(make_record: Make, tmp_path: Path) -> None:
    record = dataclasses.replace(make_record(), metrics={"=cmd()": -0.5})
    to_file([record], tmp_path / "x.csv")
    assert cells(tmp_path / "x.csv")[0]["'=cmd()"] == "-0.5"


@pytest.mark.parametrize("name", ["=1+1", "@x"])
def test_no_table_begins_a_cell_as_a_formula(name: str, make_record: Make, tmp_path: Path) -> None:
    records = [
        named(make_record(i, status=status), name) for i, status in enumerate(["done", "failed"])
    ]
    to_tables(records, tmp_path)
    found = [
        cell for file in tmp_path.glob("*.csv") for row in cells(file) for cell in row.values()
    ]
    assert f"'{name}" in found
    assert not [cell for cell in found if cell.startswith(("=", "@"))]


def test_a_line_end_in_a_cell_begins_no_row(make_record: Make, tmp_path: Path) -> None:
    to_file([named(make_record(), "x\r=1+1"), named(make_record(), "\r=1")], tmp_path / "x.csv")
    assert [row["defense"] for row in cells(tmp_path / "x.csv")] == ["x\n=1+1", "'\n=1"]
    assert pd.read_csv(tmp_path / "x.csv")["defense"].tolist() == ["x\n=1+1", "'\n=1"]
