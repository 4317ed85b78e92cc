"""What there is to choose from: ``list`` and ``gallery``."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.cli import method_views
from sweep.cli.options import Json, among
from sweep.console.terminal import shown


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="datasets, models, attacks, defenses, detectors, ... or rules; left out: all.",
            autocompletion=among(method_views.KINDS),
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """What there is, with settings, defaults and sources.

    Example: poisonsweep list defenses
    """
    method_views.methods(kind, as_json)


def gallery(
    dataset: Annotated[
        str, typer.Option("--dataset", help="A data set of `poisonsweep list datasets`.")
    ] = "digits",
    image: Annotated[int, typer.Option("--image", help="Which test image, from 0.")] = 0,
    out: Annotated[Path, typer.Option("--out", help="Where the page is written.")] = Path(
        "gallery.html"
    ),
) -> None:
    """What each attack does to an image: clean, with the trigger, difference.

    Example: poisonsweep gallery --dataset digits --out gallery.html
    """
    from sweep.commands.gallery import make  # noqa: PLC0415  (loads torch and plotly)

    print(shown(str(make(dataset, out, image).resolve())))
