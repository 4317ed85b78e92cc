"""The options that several commands share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from results.selection.rules import RULES
from sweep.execution import secrets
from trials.spec import SpecError

UNITS = {"s": 1, "m": 60, "h": 3600}
LONGEST = 1e7  # seconds, 115 days


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
Rule = Annotated[
    str,
    typer.Option(
        "--rule",
        help="Selection rule; the sweep's own if left out.",
        autocompletion=among(RULES),
    ),
]
Artifacts = Annotated[
    str,
    typer.Option(
        "--artifacts",
        help="Folder or URI (s3://, gs://, ...) for weights; beside an SQLite store if left out.",
    ),
]


def duration(option: str, text: str | None) -> float:
    """Seconds of '540', '540s', '9m' or '1.5h'; 0, no limit, for None.

    Raises SpecError for what is no such time.
    """
    if text is None:
        return 0.0
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST:
        raise SpecError(
            f"{option} {text!r} is no time to run for. Write seconds, at most {LONGEST:g}, or "
            "minutes or hours: 540, 9m, 1.5h."
        )
    return seconds
