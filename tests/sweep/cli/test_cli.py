"""Every command has an example; what a user can fix is one line on stderr and exit code 2."""

import contextlib
import io
import json
import pickle
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_sweep
import typer
from commands_run import Capture, called, refused
from PIL import Image
from planned import record, whole

import poisonsweep
import sweep
from results.selection.rules import RULES
from results.store import Store
from sweep.cli import app, method_views
from sweep.console.grid import Grid
from sweep.console.terminal import Plain
from sweep.execution import runner
from sweep.spec import sweep_file
from trials import catalog
from trials.spec import Record, Trial

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


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
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help_with_an_example(command: str, option: str, capsys: Capture) -> None:
    assert called(command, option) == 0
    assert f"Example: poisonsweep {command}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"]])
def test_without_a_command_there_is_the_help(args: list[str], capsys: Capture) -> None:
    assert called(*args) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Usage: poisonsweep") and said.err == ""
    assert all(f"\n  {command} " in said.out for command in COMMANDS)


def test_the_version_is_the_packages(capsys: Capture) -> None:
    assert called("--version") == 0
    assert capsys.readouterr().out == f"poisonsweep {metadata.version('poisonsweep')}\n"


def test_the_package_has_what_sweep_has_and_runs_as_a_module() -> None:
    assert poisonsweep.__version__ == metadata.version("poisonsweep")
    assert set(poisonsweep.__all__) == {*sweep.__all__, "__version__"}
    assert all(getattr(poisonsweep, name) is getattr(sweep, name) for name in sweep.__all__)
    slow = "{'torch', 'ray', 'plotly', 'pandas', 'numpy', 'optuna', 'moocore'}"
    code = f"import sys, poisonsweep, sweep.cli; print(sorted({slow} & set(sys.modules)))"
    for words, out in (
        (["-m", "poisonsweep", "list", "rules"], "last_before_delta"),
        (["-c", code], "[]\n"),
    ):
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        assert out in done.stdout


COMPLETED = [
    ("re", ["rerun", "report"]),
    ("best --ru", ["--rule"]),
    ("best --rule last_", ["last_before_delta"]),
    ("list de", ["defenses", "detectors", "detector_spaces"]),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("typed", "wanted"), COMPLETED)
def test_a_shell_completes_commands_options_and_names(
    shell: str, typed: str, wanted: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"poisonsweep {typed}"
    asked = {
        "_POISONSWEEP_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "COMP_WORDS": line,
    }
    asked |= {"COMP_CWORD": str(len(line.split()) - 1), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    assert called() == 0
    found = re.findall(r'"([\w-]+)"|^([\w-]+)', capsys.readouterr().out, re.MULTILINE)
    assert {a or b for a, b in found} - {"_arguments"} == set(wanted)


def test_bash_completes_with_the_script_that_it_is_given() -> None:
    program = str(Path(sys.executable).with_name("poisonsweep"))
    lines = [f'script=$({shlex.quote(program)} --show-completion) && eval "$script"']
    lines += [
        f"COMP_WORDS=({shlex.quote(program)} re) COMP_CWORD=1; _poisonsweep_completion "
        f"{shlex.quote(program)}"
    ]
    script = "\n".join([*lines, 'echo "${COMPREPLY[@]}"'])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rerun", "report"], done.stderr


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
    from results.store.schema import VERSION_TABLE  # noqa: PLC0415

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
    args = [
        "run",
        spec(),
        *how,
        "--store",
        f"sqlite:///{tmp_path}/s.db",
        "--artifacts",
        tmp_path / "file" / "a",
    ]
    assert "--artifacts" in refused(capsys, *args)


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"trusted": 3.0}, ["--local"]),
    ({"victim": {**tiny_sweep.VICTIM, "attacks": [{"name": "badnets", "m": 10**6}]}}, ["--local"]),
    ({"victim": {**tiny_sweep.VICTIM, "attacks": [{"name": "badnets", "m": 10**6}]}}, []),
    ({"compute": {"device": "cuda:99"}}, ["--local"]),
    ({"compute": {"device": "cuda:99", "workers": 2}}, ["--local"]),
    ({"compute": {"device": "cuda:99"}}, []),
    ({"compute": {"cpus": 10**6}}, ["--local"]),
    ({"compute": {"scheduler": "asha"}}, ["--local"]),
    ({}, ["--local", "--artifacts", "file/a"]),
    ({}, ["--local", "--artifacts", "new/a", "--store", "file/s.db"]),
    ({}, ["--local", "--artifacts", "new/a", "--store", "nonsense://x"]),
    ({}, ["--local", "--store", "sqlite:///new/s.db?timeout=long"]),
    (
        {"victim": {**tiny_sweep.VICTIM, "attacks": [{"name": "badnets", "m": 10**6}]}},
        ["--local", "--store", "a/b.db"],
    ),
]


@pytest.mark.parametrize(("changes", "options"), REFUSED)
def test_a_refused_run_leaves_nothing_behind(
    changes: dict[str, Any],
    options: list[str],
    capsys: Capture,
    tmp_path: Path,
    spec: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    file = spec(**changes)
    refused(capsys, "run", file, *options)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "tiny.toml"]


def test_a_gpu_that_is_not_there_is_refused(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path]
) -> None:
    file = spec(compute={"device": "cuda:99"})
    assert "torch sees" in refused(
        capsys, "run", file, "--local", "--store", f"sqlite:///{tmp_path}/s.db"
    )


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


def test_a_corrupt_image_is_named(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path]
) -> None:
    root = folder(tmp_path / "images", 2)
    (root / "train" / "class1" / "3.png").write_bytes(b"\x89PNG not really")
    said = refused(
        capsys, "run", spec(**of_folder(root)), "--local", "--store", f"sqlite:///{tmp_path}/s.db"
    )
    assert "3.png" in said


def test_a_folder_of_one_class_is_refused(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path]
) -> None:
    root = folder(tmp_path / "images", 1)
    said = refused(
        capsys, "run", spec(**of_folder(root)), "--local", "--store", f"sqlite:///{tmp_path}/s.db"
    )
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
    file = spec(
        victim={**tiny_sweep.VICTIM, "training": {"name": "given", "weights": str(weights)}}
    )
    refused(capsys, "run", file, "--local", "--store", f"sqlite:///{tmp_path}/s.db")
    assert not mark.exists()


@pytest.mark.usefixtures("quick_reader")
def test_a_checkpoint_of_another_architecture_is_refused(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path]
) -> None:
    import torch  # noqa: PLC0415

    weights = tmp_path / "weights.pt"
    torch.save({"conv.weight": torch.zeros(3, 3)}, weights)
    file = spec(
        victim={**tiny_sweep.VICTIM, "training": {"name": "given", "weights": str(weights)}}
    )
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


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
@pytest.mark.parametrize("kind", ["", "defenses"])
def test_what_there_is_wraps_under_its_column(
    columns: int, kind: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert called("list", *filter(None, [kind])) == 0
    lines = capsys.readouterr().out.splitlines()
    known = {
        name
        for kind in method_views.KINDS
        for name in ([*RULES] if kind == "rules" else catalog.names(kind))
    }
    for line in lines:
        assert len(line) <= columns and line == line.rstrip()
        indent = len(line) - len(line.lstrip())
        assert indent in (0, 2) or indent >= 6
        assert indent or line in method_views.KINDS
        assert indent != 2 or line.split()[0] in known


@pytest.fixture
def whole_store(kept: str) -> str:
    with Store.open(kept) as store:
        store.add_sweep("tiny", {})
        whole(tiny_sweep.sweep(), store)
    return kept


def test_best_shows_what_is_left_of_each_kind_of_trigger(capsys: Capture, kept: str) -> None:
    def answer(trial: Trial) -> Record:
        found = record(trial, asr=0.1)
        curve = tuple(
            replace(p, extra={"asr/patch": p.asr / 2, "asr/warp": p.asr}) for p in found.curve
        )
        return replace(found, curve=curve)

    with Store.open(kept) as store:
        store.add_sweep("tiny", {})
        whole(tiny_sweep.sweep(), store, answer)
    assert called("best", "--store", kept) == 0
    out = capsys.readouterr().out
    assert re.search(r"warp\W+100.0%\W+10.0% \[4%, 22%\]\W+45", out)  # Wilson's interval at n = 45
    assert re.search(r"patch\W+50.0%\W+5.0% \[1%, 16%\]\W+45", out)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
@pytest.mark.parametrize("command", ["status", "best", "front", "plan"])
def test_tables_keep_their_numbers_at_any_width(
    columns: int,
    command: str,
    capsys: Capture,
    whole_store: str,
    spec: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    args = [command, *([spec()] if command == "plan" else []), "--store", whole_store]
    numbers: dict[int, list[str]] = {}
    for width in (1000, columns):
        monkeypatch.setenv("COLUMNS", str(width))
        assert called(*args) == 0
        out = capsys.readouterr().out
        assert all(len(line) <= width for line in out.splitlines())
        # a head, which stands before each number where a row is a paragraph
        out = out.replace("(95 %)", "")
        numbers[width] = sorted(re.findall(r"(?<![\w=.])[+-]?\d+(?:[.:-]\d+)*%?(?![\w.=])", out))
    # these are cut
    settings = {x for x in numbers[1000] if command == "front" and x not in numbers[columns]}
    assert (
        len(numbers[columns]) > 5
        and [x for x in numbers[1000] if x not in settings] == numbers[columns]
    )


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_what_differs_is_shown_whole_at_any_width(columns: int) -> None:
    long = "failed: " + "a long reason " * 20
    grid = Grid("what", "stored", "now", words={"what", "stored", "now"})
    for tasks in (
        ("asr at step 150", 0.9583333333333334, 0.9583333333333335),
        ("status", "done", long),
    ):
        grid.add(*tasks)
    console = Plain(width=columns, record=True, file=io.StringIO())
    console.print(grid)
    text = console.export_text()
    assert (
        "0.9583333333333334" in text and "0.9583333333333335" in text and text.count("reason") == 20
    )
    assert all(len(line) <= columns for line in text.splitlines())


def test_status_reads_no_record_but_the_failed_ones(
    capsys: Capture, tmp_path: Path, kept: str
) -> None:
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
    sweep = sweep_file.read(spec(seeds=[0, 1]))
    with Store.open(url) as store:
        store.add_sweep(sweep.name, runner._plain(sweep))
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
    assert any(
        f"{points[0]['asr']:.1%}" in line and f"{points[0]['cda']:.1%}" in line for line in lines
    )
    assert all(len(line) <= columns for line in lines)
    # a point is one line
    assert sum("weight_decay" in line or "fine_tuning" in line for line in lines) == len(points)


def test_a_plan_makes_no_store_and_counts(
    capsys: Capture, tmp_path: Path, spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called("plan", spec(), "--json") == 0
    lines = json.loads(capsys.readouterr().out)
    assert sum(x["trials"] for x in lines) == 9
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.toml"]


def test_the_list_says_what_a_defense_needs_and_whether_a_detector_compares(
    capsys: Capture,
) -> None:
    assert called("list", "defenses", "--json") == 0
    needs = {n: e["needs"] for n, e in json.loads(capsys.readouterr().out)["defenses"].items()}
    assert (needs["nad"], needs["fine_tuning"]) == (["stages"], [])
    assert called("list", "detectors", "--json") == 0
    entries = json.loads(capsys.readouterr().out)["detectors"]
    compares = {name: entry["compares"] for name, entry in entries.items()}
    assert compares == {"calibrated_inversion": True, "neural_cleanse": False}
    assert called("list", "defenses") == 0
    assert "Needs of a model: stages" in capsys.readouterr().out
