"""Every command has an example; what a user can fix is one line on stderr and exit code 2."""

import contextlib
import json
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_sweep
import typer
from PIL import Image
from test_plan import whole

from results.store import Store
from sweep import config, engine
from sweep.cli import app, main

Capture = pytest.CaptureFixture[str]
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def called(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in args])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def refused(capsys: Capture, *args: object) -> str:
    """The one line with which a command was refused."""
    assert called(*args) == 2
    said = capsys.readouterr()
    assert said.err.startswith("poisonsweep: ")
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    return said.err


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep's file."""

    def write(**changes: Any) -> Path:
        file = tmp_path / "tiny.toml"
        file.write_text(tiny_sweep.toml(tiny_sweep.table(**changes)))
        return file

    return write


@pytest.fixture
def kept(tmp_path: Path) -> str:
    """A store with a sweep of which nothing ran."""
    url = f"sqlite:///{tmp_path}/kept.db"
    with Store.open(url) as store:
        store.add_sweep("digits", {})
    return url


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: Capture) -> None:
    assert called(command, "--help") == 0
    assert f"Example: poisonsweep {command}" in " ".join(capsys.readouterr().out.split())


def test_the_command_line_is_typers() -> None:
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize(
    "kind", ["datasets", "models", "recipes", "attacks", "defenses", "games", "spaces", "rules", ""]
)
@pytest.mark.parametrize("as_json", [True, False])
def test_what_there_is_is_listed(kind: str, as_json: bool, capsys: Capture) -> None:
    assert called("list", *([kind] if kind else []), *(["--json"] if as_json else [])) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["bset"], "bset"),
        (["best", "--rull", "last"], "--rull"),
        (["run"], "SPEC.toml"),
        (["run", "absent.toml"], "cannot be read"),
        (["plan", "absent.toml"], "cannot be read"),
        (["run", "absent.toml", "--local", "--address", "auto"], "exclude each other"),
        (["run", "absent.toml", "--ship"], "--address"),
        (["list", "defence"], "Did you mean 'defenses'"),
        (["export"], "nothing to write"),
        (["export", "--out", "x.csv", "--store", "sqlite:///absent.db"], "absent.db"),
        (["best", "--store", "sqlite:///absent.db"], "absent.db"),
        (["best", "--store", "nonsense://x"], "sqlite:///PATH"),
        (["status", "--store", "absent.db"], "absent.db"),
    ],
)
def test_a_bad_command_is_one_line(
    args: list[str], says: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *args)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["status", "best", "front", "report"])
def test_an_unknown_sweep_has_the_nearest_named(command: str, capsys: Capture, kept: str) -> None:
    assert "Did you mean 'digits'" in refused(capsys, command, "--sweep", "digit", "--store", kept)


def test_an_unknown_rule_has_the_nearest_named(capsys: Capture, kept: str) -> None:
    said = refused(capsys, "best", "--rule", "last_before_dleta", "--store", kept)
    assert "Did you mean 'last_before_delta'" in said


def test_a_sweep_of_which_nothing_ran_has_no_best(capsys: Capture, kept: str) -> None:
    assert "run the sweep first" in refused(capsys, "best", "--store", kept)


def test_a_store_of_a_newer_schema_is_refused(capsys: Capture, kept: str) -> None:
    from results.schema import VERSION_TABLE  # noqa: PLC0415

    with sqlite3.connect(kept.removeprefix("sqlite:///")) as raw:
        raw.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    raw.close()
    assert "newer poisonsweep" in refused(capsys, "status", "--store", kept)


def test_a_file_that_is_no_store_is_refused(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database, but long enough to be taken for one" * 20)
    refused(capsys, "status", "--store", f"sqlite:///{tmp_path}/x.db")


@pytest.mark.parametrize("use_ray", [True, False])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path], use_ray: bool
) -> None:
    (tmp_path / "file").write_text("")
    how = [] if use_ray else ["--local"]
    args = ["run", spec(), *how, "--store", f"sqlite:///{tmp_path}/s.db", "--artifacts", tmp_path / "file" / "a"]
    assert "--artifacts" in refused(capsys, *args)


def test_a_gpu_that_is_not_there_is_refused(capsys: Capture, tmp_path: Path, spec: Callable[..., Path]) -> None:
    file = spec(compute={"device": "cuda:99"})
    assert "torch sees" in refused(capsys, "run", file, "--local", "--store", f"sqlite:///{tmp_path}/s.db")


def folder(root: Path, classes: int, each: int = 6) -> Path:
    for label in range(classes):
        (root / "train" / f"class{label}").mkdir(parents=True)
        for i in range(each):
            pixels = np.full((8, 8, 3), 20 * i + label, dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / f"class{label}" / f"{i}.png")
    return root


def of_folder(root: Path) -> dict[str, Any]:
    data = {"name": "image_folder", "root": str(root), "size": 8, "test_share": 0.2}
    return {"trusted": 0.9, "victim": {**tiny_sweep.VICTIM, "dataset": data, "attacks": ["none"]}}


def test_a_corrupt_image_is_named(capsys: Capture, tmp_path: Path, spec: Callable[..., Path]) -> None:
    root = folder(tmp_path / "images", 2)
    (root / "train" / "class1" / "3.png").write_bytes(b"\x89PNG not really")
    said = refused(capsys, "run", spec(**of_folder(root)), "--local", "--store", f"sqlite:///{tmp_path}/s.db")
    assert "3.png" in said


def test_a_folder_of_one_class_is_refused(capsys: Capture, tmp_path: Path, spec: Callable[..., Path]) -> None:
    root = folder(tmp_path / "images", 1)
    said = refused(capsys, "run", spec(**of_folder(root)), "--local", "--store", f"sqlite:///{tmp_path}/s.db")
    assert "at least 2" in said


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path]
) -> None:
    weights, mark = tmp_path / "weights.pt", tmp_path / "ran"
    weights.write_bytes(pickle.dumps({"w": Bomb(mark)}))
    file = spec(victim={**tiny_sweep.VICTIM, "training": {"name": "given", "weights": str(weights)}})
    refused(capsys, "run", file, "--local", "--store", f"sqlite:///{tmp_path}/s.db")
    assert not mark.exists()


def test_a_checkpoint_of_another_architecture_is_refused(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path]
) -> None:
    import torch  # noqa: PLC0415

    weights = tmp_path / "weights.pt"
    torch.save({"conv.weight": torch.zeros(3, 3)}, weights)
    file = spec(victim={**tiny_sweep.VICTIM, "training": {"name": "given", "weights": str(weights)}})
    refused(capsys, "run", file, "--local", "--store", f"sqlite:///{tmp_path}/s.db")


@pytest.mark.parametrize(
    "args",
    [
        ["report", "--out", "file/x.html"],
        ["export", "--out", "file/x.csv"],
        ["export", "--out", "x.doc"],
        ["export", "--optuna", "file/x.db"],
        ["export", "--tensorboard", "file/x"],
    ],
)
def test_what_cannot_be_written_is_refused(
    args: list[str], capsys: Capture, tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with Store.open(kept) as store:
        store.add_sweep("tiny", {})
        whole(tiny_sweep.sweep(), store)
    refused(capsys, *args, "--store", kept, "--sweep", "tiny")


@pytest.mark.parametrize("command", ["status", "best", "front"])
def test_answers_come_as_json_too(command: str, capsys: Capture, kept: str) -> None:
    with Store.open(kept) as store:
        store.add_sweep("tiny", {})
        whole(tiny_sweep.sweep(), store)
    assert called(command, "--store", kept, "--sweep", "tiny", "--json") == 0
    assert json.loads(capsys.readouterr().out)


def test_status_reads_no_record_but_the_failed_ones(capsys: Capture, tmp_path: Path, kept: str) -> None:
    with Store.open(kept) as store:
        store.add_sweep("tiny", {})
        whole(tiny_sweep.sweep(), store)
        done = len(store.records("tiny"))
    with contextlib.closing(sqlite3.connect(tmp_path / "kept.db", isolation_level=None)) as raw:
        raw.execute("UPDATE trials SET spec = 'no JSON'")  # whoever reads one finds it damaged
    assert called("status", "--store", kept, "--sweep", "tiny", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["sweeps"]
    assert (row["done"], row["failed"]) == (done, 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "kept.db", isolation_level=None)) as raw:
        raw.execute("UPDATE trials SET status = 'failed' WHERE id = (SELECT min(id) FROM trials)")
    assert "damaged" in refused(capsys, "status", "--store", kept, "--sweep", "tiny")


def test_two_specs_under_one_name_are_told_apart_before_anything_runs(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path]
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    sweep = config.read(spec(seeds=[0, 1]))
    with Store.open(url) as store:
        store.add_sweep(sweep.name, engine._plain(sweep))
        whole(sweep, store)
        members = len(store.records(sweep.name))
    said = refused(capsys, "run", spec(seeds=[1]), "--local", "--store", url)
    assert "seeds: 0, 1 there, 1 here" in said
    assert "--replace" in said
    with Store.read(url) as store:
        assert len(store.records(sweep.name)) == members
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_front_shows_its_numbers_on_a_terminal_of_any_width(
    columns: int, capsys: Capture, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with Store.open(kept) as store:
        store.add_sweep("tiny", {})
        whole(tiny_sweep.sweep(), store)
    assert called("front", "--store", kept, "--sweep", "tiny", "--json") == 0
    points = [p for front in json.loads(capsys.readouterr().out).values() for p in front]
    assert called("front", "--store", kept, "--sweep", "tiny") == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{points[0]['asr']:.1%}" in lines[3] and f"{points[0]['cda']:.1%}" in lines[3]
    assert all(len(line) <= columns for line in lines)
    assert len(lines) == 3 + len(points) + 2  # a point is one line


def test_a_plan_makes_no_store_and_counts(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called("plan", spec(), "--json") == 0
    lines = json.loads(capsys.readouterr().out)
    assert sum(x["trials"] for x in lines) == 9
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.toml"]
