"""The store of a sweep that is to run: made once the sweep is known to be able to, so that a
refusal leaves nothing.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from results.store import Store
from results.store.sweep_specs import ASKED, SELF_POISONING, TUNING, modern, written_out
from results.store.url import file_of, parse
from sweep.execution import runner
from sweep.execution.worker import WorkerConfig
from sweep.spec.sweep_file import Sweep
from trials.spec import SpecError
from trials.storage.blobs import is_uri

# defaults of self-poisoning that today's took the place of
EARLIER_SCHEMES = ("distilled", SELF_POISONING["scheme"])


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

    Defaults became others: of tuning ``cost`` (the clean accuracy was measured on the copies) and
    ``mirrored`` (on no mirror images), of self-poisoning ``scheme`` (copies were poisoned by
    ``labels``, and then ``distilled``) and ``folds`` (one cut of many trusted images).
    """
    row = next((r for r in store.sweeps() if r.name == sweep.name), None)
    begun = modern(row.spec).get(ASKED) if row else None
    if begun is None:
        return sweep
    tuned = begun.get("tuning", {})
    before = {key: value for key, value in TUNING.items() if tuned.get(key) == value}
    sweep = replace(sweep, tuning={**before, **sweep.tuning})
    tables = begun.get("self_poisoning", [])
    said = [_as_begun(t, tables) for t in sweep.self_poisoning if "scheme" in t]
    others = [t for t in tables if t not in map(written_out, said)]
    poisoned = (_as_begun(t, tables if "scheme" in t else others) for t in sweep.self_poisoning)
    return replace(sweep, self_poisoning=tuple(poisoned))


Table = Mapping[str, Any]


def _as_begun(table: Table, begun: Sequence[Table]) -> Table:
    """The table of self-poisoning, with earlier defaults where the sweep was begun with those and
    not with today's; ``begun`` are the tables that it may have been.
    """
    if written_out(table) in begun:
        return table
    today = written_out({})
    schemes, folds = (today["scheme"], *EARLIER_SCHEMES), (today["folds"], SELF_POISONING["folds"])
    before = ({"scheme": s, "folds": f, **table} for s, f in itertools.product(schemes, folds))
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
