"""A data filter of one's own is a method like any other."""

import os
from pathlib import Path

import pytest
from programs import Program

ROOT = Path(__file__).parents[1]
FILTER = (ROOT / "docs/methods/filters/far_from_class.py").read_text()
FITS = """
from trials import catalog
from trials.spec import KIND_OF, MethodConfig

print("far_from_class" in catalog.names("filters"), KIND_OF["filter"] in catalog.KINDS)
print(catalog.resolve("filters", MethodConfig("far_from_class")))
"""
SCORES = """
import torch
from trials import catalog
from trials.spec import MethodConfig
from trials.views import DataView

images = catalog.find("datasets", "digits")("train")
trusted, train = images.take(torch.arange(200)), images.take(torch.arange(200, 400))
train.x[0] = 255 - train.x[0]
before = train.x.clone()

def none(*_):
    raise AssertionError("a filter of distances trains nothing")

view = DataView(train, trusted, fresh=none, fit=none, trained=none, keep=none)
found = catalog.find("filters", "far_from_class")(view, torch.Generator())
print(tuple(found.scores.shape), int(found.scores.argmax()), torch.equal(train.x, before))
"""
VICTIM = """
from trials import catalog
from trials.json_forms import to_json, victim_from_json
from trials.spec import Filtering, MethodConfig, Victim

plain = dict(
    dataset=MethodConfig("digits"), model=MethodConfig("small_cnn"), attacks=(),
    training=MethodConfig("fast"), seed=0,
)
without = catalog.resolve_victim(Victim(**plain))
method = MethodConfig("far_from_class")
filtering = Filtering(method=method, reject=1 / 4, trusted=0.25, seed=0)
filtered = catalog.resolve_victim(Victim(**plain, filter=filtering))
again = victim_from_json(to_json(filtered))
print(filtered.filter.method, filtered.id != without.id, again == filtered)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / "far_from_class.py").write_text(FILTER)
    return tmp_path


def called(code: str, own: Path) -> str:
    """What a process prints whose user has this filter."""
    environment = {**os.environ, "POISONSWEEP_METHODS": str(own)}
    return "".join(Program(["-c", code], ROOT, environment).communicate())


def test_it_is_found_and_its_settings_are_checked(own: Path) -> None:
    assert called(FITS, own) == "True True\nfar_from_class(power=2.0)\n"
    wrong = FITS.replace('"far_from_class")', '"far_from_class", {"power": 0.0})')
    said = called(wrong, own).splitlines()[-1]
    assert said.endswith("far_from_class: power must be a number in (0, inf), got 0.0.")


def test_it_scores_every_training_image_and_leaves_them_alone(own: Path) -> None:
    assert called(SCORES, own) == "(200,) 0 True\n"


def test_it_is_part_of_a_victims_id(own: Path) -> None:
    assert called(VICTIM, own) == "far_from_class(power=2.0) True True\n"


@pytest.mark.parametrize("verb", ["repair", "filter"])
def test_a_file_without_its_verb_is_one_line(own: Path, verb: str) -> None:
    file = own / "filters" / "far_from_class.py"
    file.write_text(FILTER.replace("def score", f"def {verb}"))
    said = called("from sweep.cli import main; main(['list', 'filters'])", own)
    assert said.startswith(f"poisonsweep: {file}: not a method that can be used: ")
    assert said.count("\n") == 1
