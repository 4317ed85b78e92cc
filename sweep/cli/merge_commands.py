"""Records from other stores and from exports: ``merge``, and ``import``, which is the same."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from results.store import DEFAULT_URL
from sweep.cli.options import Artifacts, Json, StoreUrl
from sweep.console.grid import Grid
from sweep.console.terminal import Plain, shown

if TYPE_CHECKING:
    from sweep.commands.merge import Merged

IMPORT = """The same as merge, for those who look for it after export: reads an export back, whole.

Example: poisonsweep import records.parquet --store all.db
"""
SHOWN = 20  # conflicts that a table shows


def merge_(
    others: Annotated[
        list[str],
        typer.Argument(
            help="Stores (URL or FILE.db), or exports (.parquet, .csv).", metavar="OTHER..."
        ),
    ],
    store: StoreUrl = DEFAULT_URL,
    artifacts: Artifacts = "",
    sweep: Annotated[
        str,
        typer.Option("--sweep", help="File all of it under this sweep; left out: as it was."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Take the records of other stores or exports; what is stored is never overwritten.

    Victims and copies come along from other stores. Exit code 1 where a trial has two outcomes: the
    first stays.

    Example: poisonsweep merge node-1.db node-2.db --store all.db
    """
    from sweep.commands.merge import merge  # noqa: PLC0415  (loads pandas)

    done = merge(others, store, artifacts, sweep)
    if as_json:
        print(json.dumps(asdict(done), indent=1))
    else:
        _say(done)
    raise typer.Exit(1 if done.conflicts else 0)


def _say(done: "Merged") -> None:
    filed = ", ".join(done.sweeps) or "none"
    print(shown(f"{done.added} records added, {done.same} were there already; sweeps: {filed}."))
    if done.replaced:
        print(f"{done.replaced} that had failed or been pruned are done there: taken.")
    if done.outdone:
        print(f"{done.outdone} that failed or were pruned there are done here: left.")
    if done.copied:
        print(f"{done.copied} victims and copies were copied.")
    if done.missing:
        print(
            f"{len(done.missing)} victims and copies have no weights here: a run that needs them "
            "makes them again."
        )
    if not done.conflicts:
        return
    console = Plain()
    print(f"{len(done.conflicts)} trials have another outcome elsewhere; what was first stays:")
    table = Grid("trial", "place", "what", "stored", "there", words={"place", "what"})
    for conflict in done.conflicts[:SHOWN]:
        first = conflict.differences[0]
        table.add(conflict.trial, conflict.place, first.what, first.stored, first.now)
    if len(done.conflicts) > SHOWN:
        table.add(f"and {len(done.conflicts) - SHOWN} more (--json has them all)")
    console.print(table)
