"""``watch``: a live page of a sweep that runs."""

from pathlib import Path
from typing import Annotated

import typer

from results.selection.rules import find_rule
from results.store import DEFAULT_URL
from sweep.cli.options import Artifacts, Rule, StoreUrl, SweepName
from sweep.console.terminal import Plain
from sweep.execution.runner import artifacts_of
from sweep.execution.worker import WorkerConfig
from trials.spec import SpecError

PORT = 8420


def watch(
    sweep: SweepName = "",
    store: StoreUrl = DEFAULT_URL,
    artifacts: Artifacts = "",
    rule: Rule = "",
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen at; others than this machine's own need --token."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0: any that is free.")] = PORT,
    token: Annotated[
        str,
        typer.Option("--token", envvar="POISONSWEEP_TOKEN", help="What a browser has to know."),
    ] = "",
) -> None:
    """Serve the report of a sweep that runs, with what runs now, until Ctrl-C.

    Example: poisonsweep watch --store sqlite:///runs/poisonsweep.db
    """
    try:
        from sweep.watching.pages import Pages, Watched  # noqa: PLC0415  (an extra)
        from sweep.watching.server import serve  # noqa: PLC0415
    except ImportError as problem:
        raise SpecError(
            f"watch needs {problem.name}: pip install 'poisonsweep[watch]'."
        ) from problem
    if rule:
        find_rule(rule)
    scratch = WorkerConfig(artifacts_of(store, artifacts or None)).scratch
    pages = Pages(Watched(store, sweep, rule, Path(scratch)))
    console = Plain()
    serve(
        pages,
        host,
        port,
        token,
        lambda address: console.print(
            f"watch at {address}", markup=False, highlight=False, soft_wrap=True
        ),
    )
