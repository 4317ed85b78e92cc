"""Every table of a sweep as files: CSV, Parquet and LaTeX, one of each a table."""

import importlib
from collections.abc import Sequence
from inspect import signature
from pathlib import Path

import pandas as pd

from results.export.csv_file import to_csv
from results.export.latex import latex
from results.selection.remembered import remembering
from results.selection.rules import DEFAULT_RULE
from trials.spec import Record, SpecError


def to_tables(
    records: Sequence[Record], folder: str | Path, rule: str = DEFAULT_RULE
) -> list[Path]:
    """Write every table that has a row to ``folder`` as NAME.csv, NAME.parquet and NAME.tex; the
    files written.

    Args:
        records: all of a sweep's.
        folder: made where it is not there.
        rule: chooses winners in the tables that speak of them.

    Raises:
        SpecError: the folder cannot be written.
    """
    folder, written = Path(folder), list[Path]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with remembering():
            for name in names():
                written += _written(records, name, folder, rule)
    except OSError as problem:
        raise SpecError(
            f"cannot write to {str(folder)!r}: {problem.strerror or problem}."
        ) from problem
    return written


def _written(records: Sequence[Record], name: str, folder: Path, rule: str) -> list[Path]:
    """The files of one table; none where it has no row."""
    module = importlib.import_module(f"results.tables.{name}")
    takes = signature(module.table).parameters.get("rule")
    given = {"rule": rule} if takes is not None and takes.default == DEFAULT_RULE else {}
    table: pd.DataFrame = module.table(records, **given)
    if not len(table):
        return []
    files = [folder / f"{name}{suffix}" for suffix in (".csv", ".parquet", ".tex")]
    to_csv(table, files[0])
    table.astype("string").to_parquet(files[1], index=False)
    caption = (module.__doc__ or name).splitlines()[0]
    files[2].write_text(latex(table, caption, f"tab:{name}"), encoding="utf-8")
    return files


def names() -> list[str]:
    """The tables, sorted."""
    return sorted(
        p.stem
        for p in (Path(__file__).parents[1] / "tables").glob("*.py")
        if not p.stem.startswith("_")
    )
