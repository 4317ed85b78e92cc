"""The commands in the order in which ``--help`` shows them, each a function of another file."""

import importlib.metadata
from typing import Annotated

import typer

from sweep.cli.filter_commands import filter_
from sweep.cli.merge_commands import IMPORT, merge_
from sweep.cli.method_commands import gallery, list_
from sweep.cli.result_commands import best, export, front, report, status
from sweep.cli.run_commands import defend, plan, rerun, run
from sweep.cli.watch_commands import watch
from sweep.cli.weights_commands import inspect

app = typer.Typer(
    name="poisonsweep",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.command("list")(list_)
for command in (plan, run, watch, status, rerun, best, front, report, gallery, export):
    app.command()(command)
app.command("merge")(merge_)
app.command("import", help=IMPORT)(merge_)
app.command()(inspect)
app.command()(defend)
app.command("filter")(filter_)
