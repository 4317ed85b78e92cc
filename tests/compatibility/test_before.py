"""A store of an earlier version opens, is found complete by its old spec, and answers as it did."""

import importlib
import json
import math
import shutil
import sqlite3
from pathlib import Path

import pytest
from same_numbers import HERE, RECORDS, SPEC, SWEEP, differences, measured, read

from results.export.all_tables import names
from results.selection.remembered import remembering
from results.store import Store
from results.tables import judged
from sweep.cli import main
from trials.spec import content_id

Capture = pytest.CaptureFixture[str]
STORED = 96


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the earlier version's store and weights."""
    shutil.copy(HERE / "before.db", tmp_path)
    shutil.copytree(HERE / "artifacts", tmp_path / "artifacts")
    return tmp_path


def said(capsys: Capture, folder: Path, *args: object) -> str:
    """What a command that succeeds says."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, args), "--store", str(folder / "before.db")])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    return out


def test_running_the_old_spec_runs_nothing(folder: Path, capsys: Capture) -> None:
    """So the present code plans the trials whose ids are stored, all of them and no other."""
    summary = f"ran 0 trials (0 failed, 0 pruned), {STORED} were in the store."
    assert summary in said(capsys, folder, "run", SPEC, "--local")
    (row,) = json.loads(said(capsys, folder, "status", "--json"))["sweeps"]
    assert (row["name"], row["trials"], row["done"]) == (SWEEP, STORED, STORED)


def test_it_goes_on_as_it_was_begun_every_time(folder: Path, capsys: Capture) -> None:
    """Copies by labels, at the cost on the copies, which were the defaults; the second time the
    store says so itself.
    """
    for _ in range(2):
        said(capsys, folder, "run", SPEC, "--local")
        with Store.read(str(folder / "before.db")) as store:
            (row,) = store.sweeps()
            assert len(store.members(SWEEP)) == STORED
        asked = row.spec["asked"]
        assert [t["scheme"] for t in asked["self_poisoning"]] == ["labels", "labels"]
        assert asked["tuning"]["cost"] == "copies"


def test_a_scheme_that_it_was_not_begun_with_is_another_spec(folder: Path, capsys: Capture) -> None:
    other = folder / "before.toml"
    text = SPEC.read_text(encoding="utf-8")
    other.write_text(text.replace("steps = 60\n", 'steps = 60\nscheme = "distilled"\n'))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(other), "--local", "--store", str(folder / "before.db")])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "another spec: self_poisoning: " in err and "'scheme': 'labels'" in err


def test_a_trial_read_from_the_store_has_the_id_under_which_it_is_stored(folder: Path) -> None:
    raw = sqlite3.connect(folder / "before.db")
    ids = {i for (i,) in raw.execute("SELECT id FROM trials")}
    victims = {i for (i,) in raw.execute("SELECT id FROM victims")}
    raw.close()
    with Store.open(str(folder / "before.db")) as store:
        trials = [record.trial for record in store.records()]
    assert len(trials) == len(ids) == STORED
    assert {content_id(t.identity()) for t in trials} == ids
    assert {t.victim.id for t in trials} == victims


def test_the_store_holds_the_numbers_that_are_kept_beside_it(folder: Path) -> None:
    _, wanted = read()
    assert len(wanted) == STORED
    assert measured(str(folder / "before.db")) == wanted


def test_one_that_differs_in_one_bit_is_told() -> None:
    """Else ``same_numbers.py`` would show nothing."""
    _, wanted = read()
    changed = json.loads(RECORDS.read_text(encoding="utf-8"))["records"]
    assert differences(wanted, changed) == []
    for i, row in enumerate(changed):
        row["id"] = f"{i:016x}"
    assert differences(wanted, changed) == []
    cda = changed[5]["curve"][0][1]
    changed[5]["curve"][0][1] = math.nextafter(cda, 0)
    assert differences(wanted, changed) == [
        f"{wanted[5]['id']} ({wanted[5]['game']}): no record has its numbers",
        "1 records are new",
    ]
    wanted[0]["metrics"]["cda"] = 0.5
    changed[0]["id"] = wanted[0]["id"]
    assert any("cda was 0.5, is 0.9" in line for line in differences(wanted, changed))


def test_its_winners_are_the_same(folder: Path, capsys: Capture) -> None:
    """Another processor may round the means of the stored numbers otherwise."""
    kept = json.loads((HERE / "best.json").read_text(encoding="utf-8"))
    found = json.loads(said(capsys, folder, "best", "--json"))
    assert len(found) == len(kept) == 16
    for now, then in zip(found, kept, strict=True):
        means = {name: pytest.approx(then[name], rel=1e-12) for name in ("eta", "cda")}
        assert {name: now[name] for name in then} == {**then, **means}


def test_its_tables_are_the_same(folder: Path) -> None:
    """As the version before records were read in bulk and configurations remembered made them."""
    kept = json.loads((HERE / "tables.json").read_text(encoding="utf-8"))
    with Store.read(str(folder / "before.db")) as store:
        records = store.records(SWEEP)
    with remembering():
        for name in names():
            table = importlib.import_module(f"results.tables.{name}").table(records)
            table = table.drop(columns=judged.CLEAN, errors="ignore")  # came later
            assert table.to_csv(index=False) == kept.pop(name, table.to_csv(index=False)), name
    assert not kept


def test_it_is_reported_and_exported(folder: Path, capsys: Capture) -> None:
    page = folder / "report.html"
    said(capsys, folder, "report", "--out", page)
    assert "fine_pruning" in page.read_text(encoding="utf-8")
    said(capsys, folder, "export", "--out", folder / "records.csv", "--tables", folder / "tables")
    assert (folder / "records.csv").read_text(encoding="utf-8").count("\n") > STORED
    assert list((folder / "tables").glob("*.csv"))
    assert len(json.loads(said(capsys, folder, "front", "--json"))) > 0
    assert "0 trials to run" in " ".join(said(capsys, folder, "plan", SPEC).split())
