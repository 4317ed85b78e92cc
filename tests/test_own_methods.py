"""Methods in folders that POISONSWEEP_METHODS names are methods like any other; what is wrong with
one is one line.
"""

import json
import os
from pathlib import Path

import pytest
from programs import Program

ROOT = Path(__file__).parents[1]
METHODS = ROOT / "tests" / "chaos" / "methods"


def called(code: str, folders: str) -> str:
    """What a process prints whose user named these folders."""
    environment = {**os.environ, "POISONSWEEP_METHODS": folders}
    return "".join(Program(["-c", code], ROOT, environment).communicate(100))


def listed(folders: str) -> str:
    return called("from sweep.cli import main; main(['list', 'defenses', '--json'])", folders)


def method(folder: Path, name: str, text: str) -> Path:
    (folder / "defenses").mkdir(parents=True)
    file = folder / "defenses" / f"{name}.py"
    file.write_text(text)
    return file


def test_a_folders_methods_are_listed_with_their_settings() -> None:
    entry = json.loads(listed(str(METHODS)))["defenses"]["faulty"]
    assert entry["settings"][0]["name"] == "how"
    assert "'raises'" in entry["settings"][0]["accepts"]


def test_a_folders_methods_and_spaces_are_found() -> None:
    code = (
        "from trials.catalog import find; print(find('defenses', 'faulty').__module__, "
        "find('spaces', 'faulty'))"
    )
    assert called(code, f"{METHODS}{os.pathsep}").startswith(
        "trials.defenses.faulty <function space"
    )


def test_records_name_the_code_of_a_folder() -> None:
    code = "from trials.provenance import of_code; print(of_code().get('methods'))"
    assert len(called(code, str(METHODS)).strip()) == 16
    assert called(code, "").strip() == "None"


def test_without_a_folder_there_are_only_our_own() -> None:
    assert "faulty" not in json.loads(listed(""))["defenses"]


@pytest.mark.parametrize("folders", ["tests/chaos/methods", "/absent/folder"])
def test_a_folder_that_is_relative_or_absent_is_one_line(folders: str) -> None:
    said = listed(folders)
    assert (
        said
        == f"poisonsweep: POISONSWEEP_METHODS names '{folders}': it must be the absolute path of "
        "a folder.\n"
    )


def test_a_name_that_is_taken_is_one_line(tmp_path: Path) -> None:
    file = method(tmp_path, "nad", "def repair(view, rng, every, /): ...")
    said = listed(str(tmp_path))
    assert said.startswith(f"poisonsweep: POISONSWEEP_METHODS: '{file}' has the name of ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "def repair(:",
        "x = 1",
        "def repair(view, rng, every, /, *, lr): ...",
        "def repair(v, /, *, a: set = 0): 0",
    ],
)
def test_a_file_that_is_no_method_is_one_line(text: str, tmp_path: Path) -> None:
    file = method(tmp_path, "mine", text)
    said = listed(str(tmp_path))
    assert said.startswith(f"poisonsweep: {file}: not a method that can be used: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("", 0o777),
        ("", 0o1777),
        ("", 0o775),
        ("defenses", 0o777),
        ("defenses/mine.py", 0o666),
        ("defenses/mine.py", 0o664),
    ],
)
def test_a_folder_that_others_may_write_is_refused_in_one_line(
    path: str, mode: int, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    method(folder, "mine", "def repair(view, rng, every, /): ...").chmod(0o644)
    (folder / path).chmod(mode)
    said = listed(str(folder))
    assert said.startswith(
        f"poisonsweep: POISONSWEEP_METHODS names '{folder}', whose code would run as you, but "
        "others"
    )
    assert f"chmod go-w '{folder / path}'" in said
    assert said.count("\n") == 1
    (folder / path).chmod(mode & 0o755)
    assert "mine" in json.loads(listed(str(folder)))["defenses"]
