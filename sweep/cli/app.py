"""The command line. What a user can fix is one line on stderr and exit code 2; anything else is our
bug.
"""

import functools
import importlib.metadata
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from results.selection.rules import RULES
from results.store import DEFAULT_URL, Store
from sweep.cli import views
from sweep.console.progress import ConsoleProgress
from sweep.console.terminal import line, shown
from sweep.execution import runner, secrets, stops
from sweep.execution.process_pool import workers_for
from sweep.execution.progress import Aborted
from sweep.spec import sweep_file
from sweep.spec.old_words import OldWord
from trials.spec import SpecError

app = typer.Typer(
    name="poisonsweep",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _among(names: Iterable[str]) -> Callable[[str], list[str]]:
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
Rule = Annotated[str, typer.Option("--rule", help="Selection rule.", autocompletion=_among(RULES))]
Artifacts = Annotated[
    str,
    typer.Option(
        "--artifacts",
        help="Folder or URI (s3://, gs://, ...) for weights; beside an SQLite store if left out.",
    ),
]
DEFAULT_RULE = "min_asr_within_delta"
INTERRUPTED = 130  # exit code after Ctrl-C; 143 after SIGTERM, 129 after SIGHUP
STOPPED = "stopped. Everything finished is stored; the same command goes on from there."


@app.callback(invoke_without_command=True)
def poisonsweep(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Choose a backdoor defense and its hyperparameters by poisoning your own model."""
    if version:
        print(f"poisonsweep {importlib.metadata.version('poisonsweep')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="datasets, models, attacks, defenses, detectors, ... or rules; left out: all.",
            autocompletion=_among(views.KINDS),
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """What there is, with settings, defaults and sources.

    Example: poisonsweep list defenses
    """
    views.methods(kind, as_json)


@app.command()
def plan(spec: SpecFile, store: StoreUrl = DEFAULT_URL, as_json: Json = False) -> None:
    """What a sweep would run, how much of it is done, and what it will cost. Runs nothing.

    Example: poisonsweep plan examples/digits.toml
    """
    from sweep.commands import plan as plan_command  # noqa: PLC0415

    plan_command.show_plan(sweep_file.read(spec), store, as_json)


@app.command()
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
    sweep = sweep_file.read(spec)
    executor = {"use_ray": not local, "address": address or None, "ship": ship}
    from sweep.commands.run import run_sweep  # noqa: PLC0415  (loads the planner)

    how = {**executor, "retry_failed": retry_failed, "replace_sweep": replace}
    views.ran(sweep.name, run_sweep(sweep, store, artifacts, how))


@app.command()
def status(sweep: SweepName = "", store: StoreUrl = DEFAULT_URL, as_json: Json = False) -> None:
    """Counts of a sweep's trials, and its failures.

    Example: poisonsweep status --sweep digits
    """
    with _opened(store) as opened:
        views.status(opened, sweep, as_json)


@app.command()
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
    with _opened(store) as opened:
        found = again(
            opened, trial, where, from_scratch=from_scratch, device=device, tolerance=tolerance
        )
    views.compared(found, as_json)
    raise typer.Exit(1 if found.differences else 0)


@app.command()
def best(
    sweep: SweepName = "",
    store: StoreUrl = DEFAULT_URL,
    rule: Rule = DEFAULT_RULE,
    as_json: Json = False,
) -> None:
    """The winner of each defense, and overall, with settings.

    Example: poisonsweep best --rule last_before_delta
    """
    with _opened(store) as opened:
        views.best(opened, sweep, rule, as_json)


@app.command()
def front(sweep: SweepName = "", store: StoreUrl = DEFAULT_URL, as_json: Json = False) -> None:
    """The non-dominated points (lowest ASR, highest CDA) of each defense.

    Example: poisonsweep front --json
    """
    with _opened(store) as opened:
        views.front(opened, sweep, as_json)


@app.command()
def report(
    sweep: SweepName = "",
    store: StoreUrl = DEFAULT_URL,
    rule: Rule = DEFAULT_RULE,
    out: Annotated[Path, typer.Option("--out", help="Where the page is written.")] = Path(
        "report.html"
    ),
) -> None:
    """One self-contained page: the answer first, then the evidence.

    Example: poisonsweep report --out report.html
    """
    with _opened(store) as opened:
        views.report(opened, sweep, rule, out)


@app.command()
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


@app.command()
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
    tables: Annotated[
        str, typer.Option("--tables", help="DIR: every table as CSV, Parquet and LaTeX.")
    ] = "",
) -> None:
    """Write a sweep's records and tables for other tools.

    Example: poisonsweep export --out records.csv --optuna study.db
    """
    if not (out or optuna or tensorboard or tables):
        wanted = "--out FILE.csv|FILE.parquet, --optuna FILE.db, --tensorboard DIR or --tables DIR"
        raise SpecError(f"nothing to write: give {wanted}.")
    with _opened(store) as opened:
        views.export(opened, sweep, out, optuna, tensorboard, tables)


@app.command()
def defend(
    model: Annotated[
        Path, typer.Option("--model", help="Checkpoint: safetensors, or a plain torch state dict.")
    ],
    arch: Annotated[
        str,
        typer.Option(
            "--arch", help="A model of 'poisonsweep list models', settings as NAME:key=value,..."
        ),
    ],
    trusted: Annotated[
        Path, typer.Option("--trusted", help="Folder of trusted images, one sub-folder a class.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder for repaired.safetensors, choice.json, report.html."),
    ],
    spec: Annotated[
        Path | None,
        typer.Option("--spec", help="A sweep without [victim]: defenses, tuning, compute."),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Side of the model's input, in pixels.")] = 32,
    local: Annotated[bool, typer.Option("--local/--ray", help="Without Ray, or with it.")] = True,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip", help="Training mirrors half of the images; not for signs and text."
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

    order = prepare(
        model,
        arch,
        trusted,
        out,
        spec=spec,
        size=size,
        use_ray=not local,
        seed=seed,
        device=device,
        flip=flip,
    )
    views.understood(order.understood, to_stderr=as_json)
    if plan_only:
        from sweep.commands import plan as plan_command  # noqa: PLC0415

        plan_command.show_plan(replace(order.sweep, confirm=True, judge=False), order.url, as_json)
        return
    with ConsoleProgress(
        order.sweep.name, order.sweep.rule, workers_for(order.sweep.compute)
    ) as reporter:
        choice = carry_out(order, reporter, retry_failed=retry_failed)
    views.defended(choice, as_json)
    raise typer.Exit(choice["exit_code"])


def _opened(url: str) -> Store:
    return Store.read(url)


def main(args: list[str] | None = None) -> None:
    """Entry point of the console script."""
    if args is None:
        secrets.off_the_command_line()
    command: Any = typer.main.get_command(app)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    with stops.listening(), warnings.catch_warnings():
        warnings.simplefilter("always", OldWord)
        usual = warnings.showwarning
        warnings.showwarning = functools.partial(_show, usual)
        _run(command, args)


def _show(
    usual: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any
) -> None:
    """Say an old word of a sweep's file in one line; any other warning as Python does."""
    if issubclass(category, OldWord):
        print(line(f"poisonsweep: {message}"), file=sys.stderr)
    else:
        usual(message, category, *rest)


def _run(command: Any, args: list[str] | None) -> None:
    try:
        code = _uninterrupted(command, args)
    except SpecError as problem:
        _stop(str(problem))
    except Aborted as problem:
        _stop(str(problem), 1)
    except KeyboardInterrupt:
        _stop(STOPPED, stops.code() or INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as problem:
        _stop(f"{problem.filename or 'the system'}: {problem.strerror or problem}.")
    except MemoryError as problem:
        why = f" ({problem})" if str(problem) else ""
        _stop(
            f"there is not enough memory for this{why}. Lower what it asks for: sizes, widths, "
            "batches, workers."
        )
    except Exception as problem:
        _parsers(problem)
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _uninterrupted(command: Any, args: list[str] | None) -> object:
    """What the command gave.

    Raises KeyboardInterrupt where it was to stop, whatever that became on its way.
    """
    try:
        code = command.main(args=args, prog_name="poisonsweep", standalone_mode=False)
    except Exception as problem:  # of a terminal that is gone, say
        if stops.code():
            raise KeyboardInterrupt from problem
        raise
    if code == INTERRUPTED:  # the parser turns it into a code, silently
        raise KeyboardInterrupt
    return code


def _parsers(problem: Exception) -> None:
    """Stop for what the parser of the command line raises; leave anything else alone."""
    if hasattr(problem, "format_message") and hasattr(problem, "exit_code"):
        _stop(f"{problem.format_message()} See 'poisonsweep --help'.", 2)
    if type(problem).__name__ == "Abort" and not isinstance(
        problem.__cause__, EOFError
    ):  # that is a bug of ours
        _stop(STOPPED, INTERRUPTED)


def _stop(text: str, code: int = 2) -> None:
    try:
        print(f"poisonsweep: {line(text)}", file=sys.stderr, flush=True)
    except (
        OSError
    ):  # the terminal is gone; Python would try once more at its end, and change the code
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
