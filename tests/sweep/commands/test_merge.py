"""Pieces of a sweep add up; what is stored is never overwritten; what is no piece is one line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands_run import Capture, called, refused
from one_store import MADE, SWEEP, taken

from results.export.frames import beside, to_file
from results.store import Store
from results.store.sweep_specs import ASKED
from trials.json_forms import to_json
from trials.spec import Record, canonical
from trials.storage.artifacts import Artifacts


@pytest.fixture
def there(tmp_path: Path) -> str:
    """A store of a real sweep, with its weights beside it."""
    return taken(tmp_path / "there")


def url(tmp_path: Path, name: str = "here") -> str:
    return f"sqlite:///{tmp_path}/{name}/s.db"


def records(store: str) -> list[Record]:
    with Store.read(store) as opened:
        return opened.records(SWEEP)


def told(capsys: Capture, *args: object, code: int = 0) -> str:
    assert called(*args) == code
    return capsys.readouterr().out


def texts(some: list[Record]) -> list[str]:
    return [canonical(to_json(r)) for r in some]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("command", ["import", "merge"])
def test_what_export_wrote_is_read_back_whole(
    tmp_path: Path, there: str, command: str, suffix: str, capsys: Capture
) -> None:
    file = tmp_path / f"records{suffix}"
    told(capsys, "export", "--out", file, "--store", there)
    said = told(capsys, command, file, "--store", url(tmp_path))
    assert f"96 records added, 0 were there already; sweeps: {SWEEP}." in said
    assert texts(records(url(tmp_path))) == texts(records(there))
    best = [told(capsys, "best", "--json", "--store", s) for s in (there, url(tmp_path))]
    assert best[0] == best[1]
    assert f"{MADE} victims and copies have no weights here" in said
    again = told(capsys, command, file, "--store", url(tmp_path))
    assert "0 records added, 96 were there already" in again
    with Store.read(there) as store:
        whole = store.sweeps()[0].spec
    told(capsys, command, file, "--store", there)
    with Store.read(there) as store:
        assert store.sweeps()[0].spec == whole  # an export says no more of it than the rule


def test_pieces_add_up_with_their_weights(tmp_path: Path, there: str, capsys: Capture) -> None:
    every = records(there)
    with Store.read(there) as store:
        spec = store.sweeps()[0].spec
    for name, piece in (("a", every[:50]), ("b", every[40:])):
        with Store.open(url(tmp_path, name)) as store:
            store.add_sweep(SWEEP, spec)
            store.put_many(piece, SWEEP)
        shutil.copytree(tmp_path / "there" / "artifacts", tmp_path / name / "artifacts")
    pieces = [url(tmp_path, "a"), str(tmp_path / "b" / "s.db")]
    done = json.loads(told(capsys, "merge", *pieces, "--store", url(tmp_path), "--json"))
    assert (done["added"], done["same"], done["conflicts"]) == (96, 10, [])
    assert (done["copied"], done["missing"], done["sweeps"]) == (MADE, [], [SWEEP])
    assert texts(records(url(tmp_path))) == texts(every)
    made = Artifacts(tmp_path / "here" / "artifacts")
    for record in every:
        if record.trial.game.name in ("training", "self_poison"):
            _, facts = made.load(record.trial.id)
            assert facts["sha256"]
    with Store.read(url(tmp_path)) as store:
        assert store.sweeps()[0].spec == spec


def test_another_outcome_is_shown_and_never_written(
    tmp_path: Path, there: str, capsys: Capture
) -> None:
    every = records(there)
    failure: dict[str, Any] = {"metrics": {}, "curve": (), "error": "E", "status": "failed"}
    other = {r.trial.id: r for r in every}
    first, second, third = (r.trial.id for r in every[-3:])
    other[first] = replace(other[first], metrics={**other[first].metrics, "n_clean": 1.0})
    other[second] = replace(other[second], **failure)
    to_file(other.values(), tmp_path / "other.parquet", SWEEP)
    with Store.open(there) as store:
        store.put(replace(every[-1], **failure), SWEEP)
    said = told(capsys, "merge", tmp_path / "other.parquet", "--store", there, code=1)
    assert "0 records added, 93 were there already" in said
    assert "1 that had failed or been pruned are done there: taken." in said
    assert "1 that failed or were pruned there are done here: left." in said
    assert "1 trials have another outcome elsewhere" in said
    assert first in said and "n_clean" in said and third not in said
    assert texts(records(there)) == texts(every)


def test_other_sweeps_of_one_name_are_told_apart(
    tmp_path: Path, there: str, capsys: Capture
) -> None:
    with Store.read(there) as store:
        spec = json.loads(json.dumps(store.sweeps()[0].spec))
    spec[ASKED]["trusted"] = [0.9]
    with Store.open(url(tmp_path)) as store:
        store.add_sweep(SWEEP, spec)
    said = refused(capsys, "merge", there, "--store", url(tmp_path))
    assert "trusted" in said and "--sweep NAME" in said
    assert records(url(tmp_path)) == []
    told(capsys, "merge", there, "--sweep", "both", "--store", url(tmp_path))
    with Store.read(url(tmp_path)) as store:
        assert len(store.records("both")) == 96 and store.records(SWEEP) == []


def broken(change: Callable[[pd.DataFrame, pd.DataFrame], object], file: Path) -> None:
    """Change the two tables of an export in place."""
    table, points = pd.read_parquet(file), pd.read_parquet(beside(file))
    change(table, points)
    table.to_parquet(file, index=False)
    points.to_parquet(beside(file), index=False)


def other(table: pd.DataFrame, old: str, new: str) -> None:
    table["record"] = table["record"].str.replace(old, new)


CHANGES: dict[str, tuple[Callable[[pd.DataFrame, pd.DataFrame], object], str]] = {
    "of an earlier version": (lambda t, p: t.pop("record"), "an earlier version"),
    "of a newer version": (lambda t, p: other(t, '"format":1', '"format":7'), "format 7"),
    "without ids": (lambda t, p: t.pop("id"), "lacks the columns id"),
    "without steps": (lambda t, p: p.pop("step"), "lacks the columns step"),
    "with a curve cut": (lambda t, p: p.__setitem__("id", ["x", *p["id"][1:]]), "points"),
    "with another's id": (lambda t, p: other(t, '"seed":0', '"seed":5'), "than its id says"),
    "with a rate of 2": (lambda t, p: p.__setitem__("asr", 2.0), "'asr'"),
    "with no sweep": (lambda t, p: t.pop("sweep"), "--sweep"),
    "that is no JSON": (lambda t, p: t.__setitem__("record", "x"), "damaged"),
    "that is a number": (lambda t, p: t.__setitem__("record", 1.5), "damaged"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_export_that_is_none_is_one_line_and_the_store_stays(
    tmp_path: Path, what: str, there: str, capsys: Capture
) -> None:
    change, word = CHANGES[what]
    file = tmp_path / "records.parquet"
    to_file(records(there)[:20], file, SWEEP)
    broken(change, file)
    assert word in refused(capsys, "import", file, "--store", url(tmp_path))
    assert not (tmp_path / "here").exists()
    before = (tmp_path / "there" / "s.db").read_bytes()
    refused(capsys, "import", file, "--store", there)
    assert (tmp_path / "there" / "s.db").read_bytes() == before


def test_what_is_neither_store_nor_export_is_one_line(
    tmp_path: Path, there: str, capsys: Capture
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then something else")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe,\n1,2,3\n")
    (tmp_path / "c.db").write_bytes(b"no database" * 99)
    (tmp_path / "d.txt").touch()
    names = ("a.parquet", "b.csv", "c.db", "d.txt", "gone.db", "gone.parquet")
    for name in names:
        refused(capsys, "merge", there, tmp_path / name, "--store", url(tmp_path))
    assert not (tmp_path / "here").exists()
    assert "itself" in refused(capsys, "merge", there, "--store", tmp_path / "there" / "s.db")
