"""What takes a set of images of unknown origin: ``filter``."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.cli import run_views
from sweep.cli.options import Json
from sweep.console.progress import ConsoleProgress
from sweep.console.terminal import Plain
from sweep.execution.process_pool import trials_at_a_time


def filter_(
    images: Annotated[
        Path,
        typer.Option(
            "--images",
            help="Images of unknown origin: a folder with one sub-folder a class, a .csv, .tsv, "
            ".parquet or .tar (WebDataset) file, or a folder of .parquet or .tar files.",
        ),
    ],
    trusted: Annotated[
        Path,
        typer.Option(
            "--trusted", help="Trusted images of the same classes, none of them in --images."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder for kept.txt, scores.csv, choice.json, report.html, the model."
        ),
    ],
    arch: Annotated[
        str,
        typer.Option(
            "--arch",
            help="What is trained: torchvision:NAME, timm:NAME, package.module:callable, or NAME "
            "of 'poisonsweep list models'; settings as NAME:key=value,...",
        ),
    ],
    spec: Annotated[
        Path | None,
        typer.Option("--spec", help="A TOML file: filters, self_poisoning, training, compute."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Side of the model's input, in pixels; left out: the images' own, or what is "
            "usual.",
        ),
    ] = None,
    norm: Annotated[
        str, typer.Option("--norm", help="Normalisation: cifar10, imagenet, half or none.")
    ] = "",
    mean: Annotated[
        str, typer.Option("--mean", help="In place of --norm: three numbers, or one.")
    ] = "",
    std: Annotated[str, typer.Option("--std", help="With --mean.")] = "",
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes of each training; left out: 24.")
    ] = None,
    local: Annotated[bool, typer.Option("--local/--ray", help="Without Ray, or with it.")] = True,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip", help="Training mirrors half of the images; not for signs and text."
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            "--order", help="Class names sorted as numbers, where all are numbers, or as text."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the defender's poison; left out: 0.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu or cuda; left out: the spec's, or auto.")
    ] = "",
    retrain: Annotated[
        bool, typer.Option("--train/--no-train", help="Train a model on what is kept.")
    ] = True,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Try repairs behind the two best filters, choose filter and repair by your own "
            "poison, and repair the last model.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed in a run before.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="Try filters for so long, once the models that they look at are there; 30, or "
            "with --spec no limit.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find poisoned images in a set of unknown origin: set data filters by poison of your own, keep
    what the best one lets pass, train on it.

    Exit code 0 only where the verdict is 'filtered'; 3 where it is not, and choice.json says why.

    Example: poisonsweep filter --images scraped/ --trusted clean/ --arch resnet18:width=16 --out
    kept/
    """
    from sweep.commands.filter_images import carry_out  # noqa: PLC0415  (loads torch)
    from sweep.commands.filter_order import prepare  # noqa: PLC0415

    prepared = prepare(
        images,
        trusted,
        out,
        arch,
        spec=spec,
        size=size,
        norm=norm,
        mean=mean,
        std=std,
        epochs=epochs,
        use_ray=not local,
        seed=seed,
        device=device,
        flip=flip,
        order=order,
        retrain=retrain,
        repair=repair,
        minutes=minutes,
    )
    Plain(stderr=as_json).print(prepared.said, markup=False, highlight=False, soft_wrap=True)
    with ConsoleProgress(
        prepared.sweep.name, prepared.sweep.rule, trials_at_a_time(prepared.sweep.compute)
    ) as reporter:
        choice = carry_out(prepared, reporter, retry_failed=retry_failed)
    run_views.defended(choice, as_json)
    raise typer.Exit(choice["exit_code"])
