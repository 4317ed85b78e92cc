"""Methods that an installed package offers as entry points are methods like any other; what is
wrong with one is one line.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import Program

ROOT = Path(__file__).parents[1]
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "gentle-defenses"
version = "1.5"

[project.entry-points."poisonsweep.defenses"]
gentle = "gentle_defenses.gentle"

[project.entry-points."poisonsweep.spaces"]
gentle = "gentle_defenses.space_of_gentle"
"""
DEFENSE = '''"""Gentle: gives the model back.

Source: this test.
Deviation: none.
"""
import copy
from gentle_defenses._steps import STEPS
from trials.spec import PositiveInt


def repair(view, rng, every, /, *, steps: PositiveInt = 3):
    """Give a copy.

    Args:
        steps: that it says to have taken.
    """
    yield STEPS + steps, copy.deepcopy(view.model)
'''
SPACE = '''"""Gentle: one value."""
from trials.spec import MethodConfig


def space(ask, profile, /):
    return MethodConfig("gentle", {})
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the package."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    package = source / "gentle_defenses"
    package.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").write_text("raise RuntimeError('imported before it was asked for')")
    (package / "gentle.py").write_text(DEFENSE)
    (package / "space_of_gentle.py").write_text(SPACE)
    (package / "_steps.py").write_text("STEPS = 4")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    words = [*pip, "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def called(code: str, *folders: Path) -> str:
    """What a process prints that finds these folders' packages."""
    path = os.pathsep.join(map(str, folders))
    return "".join(Program(["-c", code], ROOT, {**os.environ, "PYTHONPATH": path}).communicate())


def listed(*folders: Path) -> str:
    return called("from sweep.cli import main; main(['list', 'defenses', '--json'])", *folders)


def offered(folder: Path, entry_points: str, **files: str) -> Path:
    """A folder as an installer leaves it, with modules and the entry points of a distribution."""
    facts = folder / "other-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(entry_points)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_packages_method_is_listed_and_its_settings_checked_without_importing_it(
    installed: Path,
) -> None:
    entry = json.loads(listed(installed))["defenses"]["gentle"]
    assert (entry["summary"], entry["source"]) == ("Gentle: gives the model back.", "this test.")
    assert entry["settings"][0]["accepts"] == "an integer in [1, inf)"
    code = """
from trials.catalog import resolve
from trials.spec import MethodConfig
print(resolve("defenses", MethodConfig("gentle")).params)
print(resolve("spaces", MethodConfig("gentle")).params)
resolve("defenses", MethodConfig("gentle", {"steps": 0}))
"""
    said = called(code, installed)
    assert said.startswith("{'steps': 3}\n{}\n")
    last = said.splitlines()[-1]
    assert last.endswith("SpecError: gentle: steps must be an integer in [1, inf), got 0.")


def test_a_packages_method_is_found_with_its_helpers(installed: Path) -> None:
    (installed / "gentle_defenses" / "__init__.py").write_text("")  # now it may be imported
    code = """
import torch
from torch import nn
from trials.catalog import find
from trials.types import DefenderView, Images
view = DefenderView(nn.Linear(2, 2), Images(torch.zeros(0, 1, 1, 1), torch.zeros(0), 2))
repair = find("defenses", "gentle")
print(repair.__module__, [step for step, _ in repair(view, torch.Generator(), 1, steps=2)])
print(find("spaces", "gentle")(None, "small"))
"""
    assert called(code, installed) == "gentle_defenses.gentle [6]\ngentle()\n"


def test_records_name_the_code_of_a_package(installed: Path, tmp_path: Path) -> None:
    code = "from trials.provenance import of_code; print(of_code().get('methods'))"
    text = "[poisonsweep.defenses]\nmine = mine\n"
    some = offered(tmp_path / "some", text, mine="def repair(view, rng, every, /): ...")
    digests = {called(code, *f).strip() for f in ([installed], [some], [installed, some])}
    assert {len(digest) for digest in digests} == {16} and len(digests) == 3
    assert called(code).strip() == "None"


@pytest.mark.parametrize(
    "value", ["mine:repair", "absent", "mine.absent", "other.absent", "sys", "..", "a-b"]
)
def test_an_entry_point_that_is_no_module_with_source_is_one_line(
    value: str, tmp_path: Path
) -> None:
    said = listed(offered(tmp_path, f"[poisonsweep.defenses]\nmine = {value}\n", mine="x = 1"))
    assert said.startswith(
        f"poisonsweep: the package other 1.0 has the entry point mine = '{value}' in "
        "poisonsweep.defenses: it must be a method's name and a module"
    )
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["_mine", "my-own"])
def test_an_entry_point_whose_name_is_no_methods_is_one_line(name: str, tmp_path: Path) -> None:
    said = listed(offered(tmp_path, f"[poisonsweep.defenses]\n{name} = mine\n", mine="x = 1"))
    assert f"has the entry point {name} = 'mine'" in said and said.count("\n") == 1


def test_a_name_that_is_taken_is_one_line(tmp_path: Path) -> None:
    text = "def repair(view, rng, every, /): ..."
    said = listed(offered(tmp_path, "[poisonsweep.defenses]\nnad = other_nad\n", other_nad=text))
    file = str(tmp_path / "other_nad.py")
    assert said.startswith(f"poisonsweep: other 1.0: '{file}' has the name of ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["def repair(:", "x = 1", "def repair(v, /, *, a: set = 0): 0"])
def test_a_module_that_is_no_method_is_one_line(text: str, tmp_path: Path) -> None:
    said = listed(offered(tmp_path, "[poisonsweep.defenses]\nmine = mine\n", mine=text))
    file = str(tmp_path / "mine.py")
    assert said.startswith(f"poisonsweep: {file}: not a method that can be used: ")
    assert said.count("\n") == 1
