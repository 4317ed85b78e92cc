"""The options that several commands share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from results.selection.rules import RULES
from sweep.execution import secrets


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell completes to one of these names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


SpecFile = Annotated[Path, typer.Argument(help="The sweep, a TOML file.", metavar="SPEC.toml")]
StoreUrl = Annotated[
    str, typer.Option("--store", envvar=secrets.STORE, help="SQLite or PostgreSQL URL, or FILE.db.")
]
SweepName = Annotated[
    str, typer.Option("--sweep", help="Name of a sweep in the store; the latest if left out.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Rule = Annotated[str, typer.Option("--rule", help="Selection rule.", autocompletion=among(RULES))]
Artifacts = Annotated[
    str,
    typer.Option(
        "--artifacts",
        help="Folder or URI (s3://, gs://, ...) for weights; beside an SQLite store if left out.",
    ),
]
