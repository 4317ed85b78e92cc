"""Records as tables and files: data frames, CSV, Parquet; Optuna and TensorBoard lie in files of
their own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from results.export.csv_file import to_csv
from results.export.optuna_study import to_optuna
from results.export.settings import parts_of, under
from results.export.tensorboard_logs import to_tensorboard
from results.selection.labels import last_line
from trials.json_forms import to_json
from trials.spec import Record, Role, Scalar, SpecError, canonical

__all__ = ["SUFFIXES", "curve_frame", "frame", "to_file", "to_optuna", "to_tensorboard"]

SUFFIXES: Mapping[str, Callable[[pd.DataFrame, Path], Any]] = {
    ".csv": to_csv,
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}
_ROW = (
    *(
        "id",
        "status",
        "game",
        "dataset",
        "model",
        "training",
        "attacks",
        "m",
        "victim_seed",
        "victim",
    ),
    *("trusted", "seed", "defense", "detector", "filter", "reject", "seconds", "error"),
)
# how the columns of a method's settings begin, by the role that it has in the trial
_PREFIXES: Mapping[Role, str] = {"defense": "set", "detector": "detector", "filter": "filter"}
CURVE = ("id", "step", "cda", "asr", "seconds")
FORMAT = 1  # of the column with whole records
SWEEP, RULE, RECORD = "sweep", "sweep_rule", "record"


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a trial: what it was, settings of its defense as ``set.NAME``, of its detector, its
    filter, its victim's data, model and training (``model.width``), and its only attack, metrics,
    error.

    Metrics are fractions, ``seconds`` the trial's own time, ``trusted`` is r, ``m`` the images that
    the attacks poisoned in all. A metric that bears the name of another column is ``metric.NAME``.
    """
    return _table([_row(r) for r in records], _ROW)


def curve_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a point: the trial's id, step (of the optimizer), cda and asr (fractions), seconds,
    and the rest.
    """
    rows = []
    for r in records:
        for p in r.curve:
            row = dict(zip(CURVE, (r.trial.id, p.step, p.cda, p.asr, p.seconds), strict=True))
            rows.append(row | {_free(k, CURVE, "more"): v for k, v in p.extra.items()})
    return _table(rows, CURVE)


def to_file(records: Iterable[Record], path: str | Path, sweep: str = "", rule: str = "") -> Path:
    """Write ``frame`` to ``path``, in the format of its suffix, and ``curve_frame`` beside it
    (NAME.curves.csv).

    Its last columns are the name of the ``sweep``, the rule that it chooses by, and the whole
    record but for its curve as JSON, from which ``read_back.from_file`` makes the records again.

    Returns:
        The file of the curves.

    Raises:
        SpecError: an unknown suffix, or a file that cannot be written.
    """
    path, records = Path(path), list(records)
    if path.suffix not in SUFFIXES:
        raise SpecError(
            f"cannot write {str(path)!r}: the suffix must be one of {', '.join(SUFFIXES)}."
        )
    whole: dict[str, Any] = {
        SWEEP: [sweep or None for _ in records],
        RULE: [rule or None for _ in records],
        RECORD: list(map(_whole, records)),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        SUFFIXES[path.suffix](frame(records).assign(**whole), path)
        SUFFIXES[path.suffix](curve_frame(records), beside(path))
    except OSError as problem:
        raise SpecError(f"cannot write {str(path)!r}: {problem.strerror or problem}.") from problem
    return beside(path)


def beside(path: Path) -> Path:
    """The file of the curves of an export."""
    return path.with_suffix(f".curves{path.suffix}")


def extra_of(column: str) -> str:
    """The measurement in a column of the curves that is none of ``CURVE``."""
    name = column.removeprefix("more.")
    return name if name in CURVE else column


def _whole(record: Record) -> str:
    data = to_json(replace(record, curve=()))
    return canonical({**data, "format": FORMAT, "points": len(record.curve)})


def _row(record: Record) -> dict[str, Any]:
    trial, victim = record.trial, record.trial.victim
    budgets = [a.params["m"] for a in victim.attacks if "m" in a.params]
    names = {role: method.name for role, method in trial.roles.items()}
    values = (
        trial.id,
        record.status,
        trial.game.name,
        victim.dataset.name,
        victim.model.name,
        victim.training.name,
        " + ".join(a.name for a in victim.attacks) or "clean",
        sum(int(b) for b in budgets) if budgets else None,
        victim.seed,
        victim.id,
        trial.trusted,
        trial.seed,
        names.get("defense"),
        names.get("detector"),
        names.get("filter"),
        str(victim.filter.reject) if victim.filter else None,
        record.seconds,
        last_line(record.error),
    )
    row: dict[str, Any] = dict(zip(_ROW, values, strict=True))
    settings = dict[str, Scalar]()
    for part, config in parts_of(victim).items():
        settings |= under(part, config)
    for role, method in trial.roles.items():
        if role in _PREFIXES:
            settings |= under(_PREFIXES[role], method)
    if len(victim.attacks) == 1:
        settings |= {f"attack.{k}": v for k, v in victim.attacks[0].params.items() if k != "m"}
    return row | settings | {_free(k, row, "metric"): v for k, v in record.metrics.items()}


def _table(rows: Sequence[Mapping[str, Any]], first: Iterable[str]) -> pd.DataFrame:
    names = dict.fromkeys(first)
    seen: set[str] = set().union(*rows)
    extra = sorted(seen - names.keys(), key=lambda k: (not k.startswith("set."), k))
    columns = {}
    for name in (*names, *extra):
        columns[name] = _column([row.get(name) for row in rows])
    return pd.DataFrame(columns)


def _column(values: list[Any]) -> "pd.Series[Any]":
    """A column that keeps whole numbers whole where some are missing, and writes mixed values as
    text.
    """
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds <= {int, float} and kinds:
        return pd.Series(values, dtype="float64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if None in values else "bool")
    return pd.Series([v if v is None else str(v) for v in values], dtype="str")


def _free(name: str, taken: Iterable[str], prefix: str) -> str:
    return f"{prefix}.{name}" if name in taken else name
