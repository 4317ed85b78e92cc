"""CSV files whose cells a spreadsheet shows and does not compute."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

_FORMULA = tuple("=+-@\t\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s?%?")


def to_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table without its index.

    Text and column names that a spreadsheet would take for a formula get an apostrophe before them;
    numbers, also those written as text, stay as they are. A carriage return becomes a line feed: it
    would not be quoted, and begin a row.
    """
    text = {
        name: table[name].map(_harmless)
        for name in table.columns
        if table[name].dtype.kind not in "biufM"
    }
    table.assign(**text).rename(columns=_harmless).to_csv(path, index=False)


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
