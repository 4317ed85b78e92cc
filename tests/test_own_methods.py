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
    return "".join(Program(["-c", code], ROOT, environment).communicate())


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


DETECTOR = '''"""Looks.

Source: here.
Deviation: none.
"""
{constant}

def score(suspect, repaired, trusted, rng, /, *, steps: int = 1):
    {body}
'''


@pytest.mark.parametrize(
    ("constant", "body", "compares"),
    [
        ("COMPARES = True", "return 0", True),
        ("COMPARES = False", "return repaired(trusted.x)", False),
        ("", "del repaired", False),
    ],
)
def test_whether_a_detector_compares_is_what_it_declares(
    tmp_path: Path, constant: str, body: str, compares: bool
) -> None:
    """The text of its function decides nothing."""
    (tmp_path / "detectors").mkdir()
    file = tmp_path / "detectors" / "mine.py"
    file.write_text(DETECTOR.format(constant=constant, body=body))
    code = "from trials.catalog import describe; print(describe('detectors', 'mine').compares)"
    assert called(code, str(tmp_path)).strip() == str(compares)


def test_a_need_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    text = 'NEEDS = frozenset({"stage"})\ndef repair(view, rng, every, /): ...'
    file = method(tmp_path, "mine", text)
    said = listed(str(tmp_path))
    assert said.startswith(f"poisonsweep: {file}: not a method that can be used: NEEDS: ")
    assert "Did you mean 'stages'?" in said
    assert said.count("\n") == 1


VGG = '''"""A small VGG of torchvision with two linear layers.

Source: Simonyan & Zisserman 2015, arXiv:1409.1556.
Deviation: two convolutions.
"""

import torchvision
from torch import nn
from torchvision.models.vgg import make_layers


def build(classes, size, /, *, width: int = 4):
    model = torchvision.models.VGG(make_layers([width, "M", 2 * width, "M"]), init_weights=False)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier = nn.Sequential(nn.Linear(8 * width, 16), nn.ReLU(), nn.Linear(16, classes))
    return model
'''
SWEEP = """
trusted = 0.2
[victim]
dataset = "digits"
model = {{ name = {model} }}
training = {{ name = "fast", epochs = 1 }}
attacks = ["badnets"]
[[defenses]]
name = "{defense}"
profile = "small"
"""


CHECK = """
import json
from pathlib import Path
from sweep.execution.preflight import check
from sweep.execution.worker import WorkerConfig
from sweep.spec.sweep_file import read
from trials.spec import SpecError
for file in {files!r}:
    try:
        said = check(read(file), WorkerConfig({out!r}, "cpu", 1)) or ""
    except SpecError as error:
        said = str(error)
    written = sum(f.is_file() for f in Path({out!r}).rglob("*"))
    print(json.dumps([said, written]))
"""


def checked(own: Path, *sweeps: str) -> list[str]:
    """What preflight says of each sweep, in one process; it writes no file."""
    files = [own.parent / f"sweep{i}.toml" for i in range(len(sweeps))]
    for file, text in zip(files, sweeps, strict=True):
        file.write_text(text)
    names, out = [str(file) for file in files], str(own.parent / "out")
    told = called(CHECK.format(files=names, out=out), str(own)).splitlines()
    found = [json.loads(line) for line in told]
    assert [written for _, written in found] == [0] * len(sweeps)
    return [said for said, _ in found]


# a defense, a model, and what it lacks
LACKS = [
    ("clp", '"small_vgg"', "small_vgg has none"),
    ("anp", '"small_vgg"', "normalisation layers"),
    ("bn_refresh", '"small_vgg"', "batch normalisation"),
    ("d3", '"clip_vit_b32", architecture = "tiny"', "clip_vit_b32 has none"),
    ("fine_pruning", '"small_vgg"', ""),
    ("fine_tuning", '"small_vgg"', ""),
]


def test_a_defense_on_a_model_that_lacks_what_it_needs_is_refused_before_any_compute(
    tmp_path: Path,
) -> None:
    (tmp_path / "own" / "models").mkdir(parents=True)
    (tmp_path / "own" / "models" / "small_vgg.py").write_text(VGG)
    sweeps = [SWEEP.format(model=model, defense=defense) for defense, model, _ in LACKS]
    for said, (defense, _, lacks) in zip(checked(tmp_path / "own", *sweeps), LACKS, strict=True):
        assert lacks in said and bool(lacks) == bool(said)
        assert not lacks or said.startswith(f"{defense} needs a model with ")


DETECTOR_SPACE = '''"""Mine: one value."""

from trials.spec import MethodConfig


def space(ask, profile, /):
    return MethodConfig("mine", {})
'''
DETECTIONS = """
[[detectors]]
name = "mine"
profile = "small"
repairs = ["fine_tuning"]
"""


@pytest.mark.parametrize(("need", "lacks"), [("norms", "batch normalisation"), ("stages", "")])
def test_a_detector_on_a_model_that_lacks_what_it_needs_is_refused_before_any_compute(
    tmp_path: Path, need: str, lacks: str
) -> None:
    own = tmp_path / "own"
    for folder in ("detectors", "search_spaces/detectors"):
        (own / folder).mkdir(parents=True)
    detector = DETECTOR.format(constant=f'NEEDS = frozenset({{"{need}"}})', body="del repaired")
    (own / "detectors" / "mine.py").write_text(detector)
    (own / "search_spaces" / "detectors" / "mine.py").write_text(DETECTOR_SPACE)
    (own / "models").mkdir()
    (own / "models" / "small_vgg.py").write_text(VGG)
    sweep = SWEEP.format(model='"small_vgg"', defense="fine_tuning") + DETECTIONS
    (said,) = checked(own, sweep)
    assert bool(said) == bool(lacks)
    if lacks:
        assert said.startswith("mine needs a model with ")
        assert lacks in said and "small_vgg has none" in said
