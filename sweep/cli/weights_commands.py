"""What a stranger's file holds: ``inspect``."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.cli.options import Json


def inspect(
    file: Annotated[
        Path,
        typer.Argument(help="safetensors, a torch file, or a Hugging Face folder.", metavar="FILE"),
    ],
    arch: Annotated[
        str,
        typer.Option(
            "--arch", help="Compare with this one, as for defend; left out: with all known ones."
        ),
    ] = "",
    size: Annotated[
        int, typer.Option("--size", help="With --arch: side of the model's input, in pixels.")
    ] = 32,
    as_json: Json = False,
) -> None:
    """What a file of weights holds, and which architecture it fits; nothing in it is run.

    Example: poisonsweep inspect model.pth
    """
    from sweep.cli import weights_views  # noqa: PLC0415  (loads torch)
    from sweep.commands.inspect import look  # noqa: PLC0415

    found = look(file, arch, size)
    weights_views.inspected(found, as_json)
