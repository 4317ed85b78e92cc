"""What came out: ``status``, ``best``, ``front``, ``report``, ``export``."""

from pathlib import Path
from typing import Annotated

import typer

from results.store import DEFAULT_URL, Store
from sweep.cli import result_views
from sweep.cli.options import Json, Rule, StoreUrl, SweepName
from trials.spec import SpecError


def status(sweep: SweepName = "", store: StoreUrl = DEFAULT_URL, as_json: Json = False) -> None:
    """Counts of a sweep's trials, and its failures.

    Example: poisonsweep status --sweep digits
    """
    with Store.read(store) as opened:
        result_views.status(opened, sweep, as_json)


def best(
    sweep: SweepName = "",
    store: StoreUrl = DEFAULT_URL,
    rule: Rule = "",
    as_json: Json = False,
) -> None:
    """The winner of each defense, and overall, with settings.

    Example: poisonsweep best --rule last_before_delta
    """
    with Store.read(store) as opened:
        result_views.best(opened, sweep, rule, as_json)


def front(sweep: SweepName = "", store: StoreUrl = DEFAULT_URL, as_json: Json = False) -> None:
    """The non-dominated points (lowest ASR, highest CDA) of each defense.

    Example: poisonsweep front --json
    """
    with Store.read(store) as opened:
        result_views.front(opened, sweep, as_json)


def report(
    sweep: SweepName = "",
    store: StoreUrl = DEFAULT_URL,
    rule: Rule = "",
    out: Annotated[Path, typer.Option("--out", help="Where the page is written.")] = Path(
        "report.html"
    ),
) -> None:
    """One self-contained page: the answer first, then the evidence.

    Example: poisonsweep report --out report.html
    """
    with Store.read(store) as opened:
        result_views.report(opened, sweep, rule, out)


def export(
    out: Annotated[
        str, typer.Option("--out", help="FILE.csv or FILE.parquet: one row a trial.")
    ] = "",
    sweep: SweepName = "",
    store: StoreUrl = DEFAULT_URL,
    optuna: Annotated[
        str, typer.Option("--optuna", help="FILE.db: studies that optuna-dashboard opens.")
    ] = "",
    tensorboard: Annotated[
        str, typer.Option("--tensorboard", help="DIR: the curves, one run a trial.")
    ] = "",
    mlflow: Annotated[
        str, typer.Option("--mlflow", help="URI: runs of MLflow, those that it lacks; an extra.")
    ] = "",
    tables: Annotated[
        str, typer.Option("--tables", help="DIR: every table as CSV, Parquet and LaTeX.")
    ] = "",
) -> None:
    """Write a sweep's records and tables for other tools.

    Example: poisonsweep export --out records.csv --optuna study.db
    """
    if not (out or optuna or tensorboard or mlflow or tables):
        raise SpecError(
            "nothing to write: give --out FILE.csv|FILE.parquet, --optuna FILE.db, "
            "--tensorboard DIR, --mlflow URI or --tables DIR."
        )
    with Store.read(store) as opened:
        result_views.export(opened, sweep, out, optuna, tensorboard, mlflow, tables)
