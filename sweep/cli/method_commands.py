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
    model: Annotated[
        str,
        typer.Option(
            "--for",
            help="Which defenses or detectors a model can have: an architecture, as --arch of "
            "defend takes it, a file of weights, or a Hugging Face folder.",
        ),
    ] = "",
    size: Annotated[
        int, typer.Option("--size", help="With --for: side of the model's input, in pixels.")
    ] = 32,
    as_json: Json = False,
) -> None:
    """What there is, with settings, defaults and sources.

    Example: poisonsweep list defenses

    Example: poisonsweep list defenses --for torchvision:vgg11_bn
    """
    if not model:
        method_views.methods(kind, as_json)
        return
    from sweep.commands.fitting import fitting  # noqa: PLC0415  (loads torch)

    method_views.fitting(kind, fitting(kind, model, size), as_json)


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
