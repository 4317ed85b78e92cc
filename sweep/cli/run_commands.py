"""What runs trials, or says what they would cost: ``plan``, ``run``, ``rerun``, ``defend``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from results.store import DEFAULT_URL, Store
from sweep.cli import run_views
from sweep.cli.options import Artifacts, Json, SpecFile, StoreUrl, duration
from sweep.console.own_work import telling
from sweep.console.progress import ConsoleProgress
from sweep.console.terminal import Plain
from sweep.execution import runner
from sweep.execution.process_pool import trials_at_a_time
from sweep.spec import sweep_file
from trials.spec import SpecError


def plan(spec: SpecFile, store: StoreUrl = DEFAULT_URL, as_json: Json = False) -> None:
    """What a sweep would run, how much of it is done, and what it will cost. Runs nothing.

    Example: poisonsweep plan examples/digits.toml
    """
    from sweep.commands import plan as plan_command  # noqa: PLC0415

    plan_command.show_plan(sweep_file.read(spec), store, as_json)


def run(
    spec: SpecFile,
    store: StoreUrl = DEFAULT_URL,
    address: Annotated[
        str, typer.Option("--address", help="A running Ray cluster; a fresh Ray here if left out.")
    ] = "",
    local: Annotated[
        bool,
        typer.Option("--local", help="Worker processes of this machine, no Ray; same records."),
    ] = False,
    ship: Annotated[
        bool,
        typer.Option(
            "--ship", help="With --address: send this package's code to nodes that lack it."
        ),
    ] = False,
    artifacts: Artifacts = "",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run this sweep's failed trials again.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Take over the name of a stored sweep with another spec."),
    ] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            "--for", help="Stop after so long: seconds, or as 9m or 1.5h.", metavar="TIME"
        ),
    ] = None,
) -> None:
    """Run what is not in the store yet. A second time it runs nothing; after a stop it goes on.

    Example: poisonsweep run examples/digits.toml --local
    """
    if local and address:
        raise SpecError("--local and --address exclude each other: --local runs without Ray.")
    if ship and not address:
        raise SpecError(
            "--ship sends code to the nodes of a cluster: give its --address, or leave --ship out."
        )
    seconds = duration("--for", limit)
    sweep = sweep_file.read(spec)
    executor = {"use_ray": not local, "address": address or None, "ship": ship}
    from sweep.commands.run import run_for  # noqa: PLC0415  (loads the planner)

    how = {**executor, "retry_failed": retry_failed, "replace_sweep": replace}
    run_views.ran(sweep.name, run_for(seconds, sweep, store, artifacts, how))


def rerun(
    trial: Annotated[
        str, typer.Argument(help="A trial's id, or enough of it to be the only one.", metavar="ID")
    ],
    store: StoreUrl = DEFAULT_URL,
    artifacts: Artifacts = "",
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Make the victim and copies that it needs again too."),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu or cuda; left out: as it ran.")
    ] = "",
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            help="By how much a number may differ; left out: 0 on the CPU, 0.01 on a GPU.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a stored trial again and compare; the stored record stays. Exit code 1 if they differ.

    Example: poisonsweep rerun 3f2a
    """
    from sweep.commands.rerun import rerun as again  # noqa: PLC0415

    where = runner.artifacts_of(store, artifacts)
    with Store.read(store) as opened, telling(f"trial {trial}", Plain(stderr=True).print):
        found = again(
            opened, trial, where, from_scratch=from_scratch, device=device, tolerance=tolerance
        )
    run_views.compared(found, as_json)
    raise typer.Exit(1 if found.differences else 0)


def defend(
    model: Annotated[
        Path,
        typer.Option(
            "--model", help="safetensors, a plain torch state dict, or a Hugging Face folder."
        ),
    ],
    trusted: Annotated[
        Path,
        typer.Option(
            "--trusted",
            help="Trusted images: a folder with one sub-folder a class, a .csv, .tsv, .parquet "
            "or .tar (WebDataset) file, or a folder of .parquet or .tar files.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder for repaired.safetensors, choice.json, report.html."),
    ],
    arch: Annotated[
        str,
        typer.Option(
            "--arch",
            help="torchvision:NAME, timm:NAME, package.module:callable, or NAME of 'poisonsweep "
            "list models'; settings as NAME:key=value,...; of a Hugging Face folder config.json "
            "says it.",
        ),
    ] = "",
    spec: Annotated[
        Path | None,
        typer.Option("--spec", help="A sweep without [victim]: defenses, tuning, compute."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Side of the model's input, in pixels; left out: what its configuration says, the "
            "images' own, or what is usual.",
        ),
    ] = None,
    norm: Annotated[
        str,
        typer.Option(
            "--norm", help="Normalisation: cifar10, imagenet, half or none; left out: found."
        ),
    ] = "",
    mean: Annotated[
        str, typer.Option("--mean", help="In place of --norm: three numbers, or one.")
    ] = "",
    std: Annotated[str, typer.Option("--std", help="With --mean.")] = "",
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
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="Which of the model's outputs each class is: imagenet, index, or a file of names "
            "and outputs.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="Of triggers, targets and batches; left out: the spec's, or 0."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu or cuda; left out: the spec's, or auto.")
    ] = "",
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan", help="Say what was understood, and what it would cost; leave --out alone."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed in a run before.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="For all of it, about; 30, or with --spec no limit."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Repair a stranger's checkpoint with a few trusted images: tune on self-poisoned copies, apply
    the winner.

    Exit code 0 only where the model was repaired; 3 where it was not, and choice.json and
    report.html say why.

    Example: poisonsweep defend --model model.safetensors --arch resnet18:width=16 --trusted images/
    --out repaired/
    """
    from sweep.commands.defend import carry_out, prepare  # noqa: PLC0415  (loads torch)

    prepared = prepare(
        model,
        arch,
        trusted,
        out,
        spec=spec,
        size=size,
        norm=norm,
        mean=mean,
        std=std,
        use_ray=not local,
        seed=seed,
        device=device,
        flip=flip,
        order=order,
        classes=classes,
        minutes=minutes,
    )
    run_views.understood(prepared.understood, to_stderr=as_json)
    if plan_only:
        from sweep.commands import plan as plan_command  # noqa: PLC0415

        plan_command.show_plan(
            replace(prepared.sweep, confirm=True, judge=False), prepared.url, as_json
        )
        return
    with ConsoleProgress(
        prepared.sweep.name, prepared.sweep.rule, trials_at_a_time(prepared.sweep.compute)
    ) as reporter:
        choice = carry_out(prepared, reporter, retry_failed=retry_failed)
    run_views.defended(choice, as_json)
    raise typer.Exit(choice["exit_code"])
