"""Take the records of other stores and of exports into one store: pieces of a sweep that ran on
different machines add up.

Nothing that is stored is overwritten by something else. All that is to be taken is read and checked
before the store is written to, in one transaction.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from results.export.frames import SUFFIXES
from results.export.read_back import from_file
from results.store import Store
from results.store.sweep_specs import differences as lost
from results.store.url import file_of, masked, parse
from sweep.commands.plan import store_if_there
from sweep.commands.rerun import Difference, differences
from sweep.execution.runner import MAKES_ARTIFACTS, artifacts_of
from trials.spec import Record, SpecError, content_id
from trials.storage.artifacts import Damaged
from trials.storage.remote_artifacts import artifacts_at

Sweeps = Mapping[str, tuple[Mapping[str, Any], Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be taken from one place.

    Attributes:
        place: for people.
        records: by id.
        sweeps: by name the spec, and the ids of the trials in the order of its plan.
        artifacts: where victims and copies lie; empty for an export, which has none.
    """

    place: str
    records: Mapping[str, Record]
    sweeps: Sweeps
    artifacts: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A trial with one outcome in the store, or in a place named before, which stays, and with
    another in ``place``.
    """

    trial: str
    place: str
    differences: list[Difference]  # ``now`` is what the place has


@dataclass(slots=True)
class Merged:
    """What became of the records that were to be taken.

    Attributes:
        added: that the store did not have.
        replaced: that had failed, or were pruned, and are done in another place.
        outdone: that failed there, or were pruned, and are done in the store.
        same: that the store has with the same outcome.
        conflicts: that it has with another.
        sweeps: the names that records were filed under.
        copied: artifacts that were copied.
        missing: artifacts that no place has whole; a run that needs them makes them again.
    """

    added: int = 0
    replaced: int = 0
    outdone: int = 0
    same: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    sweeps: list[str] = field(default_factory=list)
    copied: int = 0
    missing: list[str] = field(default_factory=list)


def merge(others: Sequence[str], url: str, artifacts: str = "", sweep: str = "") -> Merged:
    """Take what the others hold into the store at ``url``, which is made where it is not there.

    Args:
        others: store URLs, SQLite files, or exports (.csv, .parquet).
        url: of the store.
        artifacts: the store's folder or URI of weights; beside an SQLite store if empty.
        sweep: file everything under this sweep, whatever it was filed under.

    Raises:
        SpecError: one of them cannot be read, or has another sweep under a name of the store;
            nothing is written.
    """
    parts = [_part(other, url) for other in others]
    ids, known = set(chain.from_iterable(p.records for p in parts)), dict[str, Any]()
    mine, store = dict[str, Record](), store_if_there(url)
    if store is not None:
        with store:
            known = {row.name: row.spec for row in store.sweeps()}
            if store.statuses(ids):
                mine = {r.trial.id: r for r in store.records() if r.trial.id in ids}
    sweeps, done = _filed(parts, known, sweep), Merged()
    taken, theirs = _taken(parts, mine, done)
    with Store.open(url) as opened:
        opened.take(taken.values(), sweeps)
    done.sweeps = list(sweeps)
    _copy(parts, theirs, artifacts_of(url, artifacts or None), done)
    return done


def _part(other: str, url: str) -> Part:
    """Raises SpecError for what cannot be read."""
    if Path(other).suffix in SUFFIXES and "://" not in other:
        exported = from_file(Path(other))
        records = {r.trial.id: r for r in exported.records}
        spec = {"rule": exported.rule} if exported.rule else {}
        return Part(repr(other), records, {exported.sweep: (spec, list(records))})
    mine, place = parse(url), parse(other)
    file = file_of(place)
    if place == mine or (file and (ours := file_of(mine)) and file.resolve() == ours.resolve()):
        raise SpecError(f"{masked(place)} is the store itself. Name others.")
    sweeps = dict[str, tuple[Mapping[str, Any], Sequence[str]]]()
    with Store.read(other) as store:
        records = {r.trial.id: r for r in store.records()}
        for row in store.sweeps():
            sweeps[row.name] = row.spec, store.members(row.name)
    for trial_id, record in records.items():
        if content_id(record.trial.identity()) != trial_id:
            raise SpecError(
                f"store {masked(place)}: trial {trial_id!r} is another than its id says. The store "
                "is damaged, or not ours."
            )
    return Part(masked(place), records, sweeps, artifacts_of(other, None))


def _filed(parts: Sequence[Part], known: Mapping[str, Any], sweep: str) -> Sweeps:
    """The specs of the sweeps, and what is filed under each."""
    found: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for part in parts:
        for own, (spec, ids) in part.sweeps.items():
            name = sweep or own
            if not name:
                raise SpecError(f"{part.place} names no sweep. Say with --sweep which one it is.")
            before, members = found.get(name, (known.get(name, {}), []))
            wider = before if sweep and before else _wider(name, before, spec, part.place)
            found[name] = wider, members + list(ids)
    return found


def _wider(
    name: str, one: Mapping[str, Any], other: Mapping[str, Any], place: str
) -> Mapping[str, Any]:
    """Of two specs of one sweep the one that asks for all that the other does; an export says no
    more than the rule.
    """
    if not other or (one and other.keys() == {"rule"}):
        return one
    if not one or one.keys() == {"rule"}:
        return other
    if not (gone := lost(one, other)):
        return other
    if not lost(other, one):
        return one
    raise SpecError(
        f"{place} has a sweep {name!r} with another spec: {'; '.join(gone)}. Give --sweep NAME to "
        "file all that is taken under one name."
    )


def _taken(
    parts: Sequence[Part], mine: Mapping[str, Record], done: Merged
) -> tuple[dict[str, Record], dict[str, set[str]]]:
    """The records to write, and by place those with whose outcome the store's agrees."""
    taken, agreed = dict[str, Record](), dict[str, set[str]]()
    for part in parts:
        here = agreed.setdefault(part.place, set())
        for trial_id, record in part.records.items():
            before = taken.get(trial_id) or mine.get(trial_id)
            if before is None:
                done.added += 1
            elif not (apart := list(differences(before, record, 0.0))):
                done.same += 1
                here.add(trial_id)
                continue
            elif before.status == "done" and record.status != "done":
                done.outdone += 1
                continue
            elif before.status == "done" or record.status != "done":
                done.conflicts.append(Conflict(trial_id, part.place, apart))
                continue
            else:
                done.replaced += 1
            taken[trial_id] = record
            here.add(trial_id)
    return taken, agreed


def _copy(parts: Sequence[Part], agreed: Mapping[str, set[str]], where: str, done: Merged) -> None:
    """Copy the weights of what was taken that the store's artifacts lack."""
    missing = dict[str, None]()
    ours = artifacts_at(where)
    for part in parts:
        theirs = artifacts_at(part.artifacts) if part.artifacts else None
        for trial_id in _made(part.records, agreed[part.place]):
            if ours.has(trial_id):
                continue
            missing[trial_id] = None
            if theirs is not None and theirs.has(trial_id):
                try:
                    ours.save(trial_id, *theirs.load(trial_id))
                except Damaged:
                    continue
                done.copied += 1
                del missing[trial_id]
    done.missing = [trial_id for trial_id in missing if not ours.has(trial_id)]


def _made(records: Mapping[str, Record], ids: Iterable[str]) -> Iterator[str]:
    """Those of the trials that left weights."""
    for trial_id in sorted(ids):
        record = records[trial_id]
        if record.trial.game.name in MAKES_ARTIFACTS and record.status == "done":
            yield trial_id
