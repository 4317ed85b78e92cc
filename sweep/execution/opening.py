"""The store of a sweep that is to run: made once the sweep is known to be able to, so that a
refusal leaves nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from results.store import Store
from results.store.sweep_specs import ASKED, modern
from results.store.url import file_of, parse
from sweep.execution import runner
from sweep.execution.worker import WorkerConfig
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.later import LATER
from trials.spec import SpecError
from trials.storage.blobs import is_uri

# defaults of self-poisoning that today's took the place of
EARLIER_SCHEMES = ("distilled", LATER["self_poison"]["scheme"])


@contextlib.contextmanager
def opened(
    sweep: Sweep,
    url: str,
    worker_config: WorkerConfig,
    *,
    use_ray: bool,
    address: str | None = None,
) -> Iterator[tuple[Store, bool]]:
    """The store at ``url``, and whether the sweep has been checked, as it is before a store is
    made.

    Raises:
        SpecError: what cannot run, or a store that cannot be used.
    """
    file = file_of(parse(url))
    fresh = file is not None and not file.exists()
    folders = [file.parent] if file else []
    if not is_uri(worker_config.artifacts):
        folders.append(Path(worker_config.artifacts))
    with leaving_nothing(*folders):
        if fresh:
            runner.refuse(sweep, worker_config, use_ray=use_ray, address=address)
        with Store.open(url) as store:
            yield store, fresh


def as_begun(sweep: Sweep, store: Store) -> Sweep:
    """The sweep, with the defaults of the version that began it where the store has it under its
    name: what earlier versions measured is continued as it was.

    Two defaults became others: ``cost`` of tuning (the clean accuracy was measured on the copies)
    and ``scheme`` of self-poisoning (copies were poisoned by ``labels``, and then ``distilled``).
    """
    row = next((r for r in store.sweeps() if r.name == sweep.name), None)
    begun = modern(row.spec).get(ASKED) if row else None
    if begun is None:
        return sweep
    cost = {"cost": LATER["tuning"]["cost"]}
    if begun.get("tuning", {}).get("cost") == cost["cost"]:
        sweep = replace(sweep, tuning={**cost, **sweep.tuning})
    said = [t for t in sweep.self_poisoning if "scheme" in t]
    tables = [t for t in begun.get("self_poisoning", []) if t not in said]
    poisoned = tuple(_poisoned_as_begun(t, tables) for t in sweep.self_poisoning)
    return replace(sweep, self_poisoning=poisoned)


def _poisoned_as_begun(
    table: Mapping[str, Any], begun: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The table, with an earlier default where the sweep was begun with that and not with today's;
    ``begun`` are the tables besides those that the file has in full.
    """
    scheme = catalog.describe("games", "self_poison").settings["scheme"].default
    if {"scheme": scheme, **table} in begun:
        return table
    before = ({"scheme": scheme, **table} for scheme in EARLIER_SCHEMES)
    return next((b for b in before if b in begun), table)


@contextlib.contextmanager
def leaving_nothing(*folders: Path) -> Iterator[None]:
    """Where the block is refused (SpecError), the folders and parents that it made are removed, if
    they are empty.
    """
    ways = chain.from_iterable((folder, *folder.parents) for folder in folders)
    absent = {path for path in ways if not path.exists()}
    try:
        yield
    except SpecError:
        for path in sorted(absent, key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):  # not made, or not empty
                path.rmdir()
        raise
