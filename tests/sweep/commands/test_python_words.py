"""What is said to who calls from Python names arguments, not options of the command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from colour_model import folder, model

from poisonsweep import defend, tune
from sweep.commands.defend import prepare
from sweep.commands.python_words import in_python, understood_in_python
from trials.spec import SpecError


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Give --arch: torchvision:NAME.", "Give arch: torchvision:NAME."),
        ("--mean and --std, or (--norm)", "mean and std, or (norm)"),
        ("give --no-flip, --retry-failed.", "give flip=False, retry_failed=True."),
        ("run poisonsweep list --for x, in 'a--size' or --sizes", None),
    ],
)
def test_options_become_arguments_and_nothing_else_changes(sentence: str, said: str | None) -> None:
    assert in_python(sentence) == (said or sentence)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``m.safetensors`` of four classes, and their ``images/``."""
    top = tmp_path_factory.mktemp("given")
    model(top / "m.safetensors", range(4), 4)
    folder(top / "images", "abcd")
    return top


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "nowhere.pt"}, "model names .*nowhere.pt"),
        ({"trusted": "nowhere"}, "trusted names .*nowhere"),
        ({"arch": ""}, "arch is left out, and model names .* Give arch: torchvision:NAME"),
        ({"arch": "small_cnn:depth=3"}, "unknown setting of small_cnn in arch"),
        ({"arch": "small_cnn:width=4,norm=half", "norm": "half"}, "arch says norm, and so do norm"),
        ({"minutes": 0}, "minutes must be more than 0"),
        ({"order": "text", "classes": "index"}, "order sorts the names, classes names"),
        ({"out": "images/in"}, "out .* lies in trusted"),
    ],
)
@pytest.mark.parametrize("call", [defend, tune])
def test_an_error_names_the_argument(
    given: Path, monkeypatch: pytest.MonkeyPatch, call: Any, changes: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(given)
    asked = {"model": "m.safetensors", "trusted": "images", "out": "out"}
    with pytest.raises(SpecError, match=says) as told:
        call(**{**asked, "arch": "small_cnn:width=4", **changes})
    assert "--" not in str(told.value) and "\n" not in str(told.value)
    assert sorted(p.name for p in given.iterdir()) == ["images", "m.safetensors"]


def test_what_was_understood_names_arguments(given: Path, tmp_path: Path) -> None:
    out, arch = tmp_path / "out", "small_cnn:width=4,norm=none"
    found = prepare(given / "m.safetensors", arch, given / "images", out).understood
    said = "as --order text says"
    plain = understood_in_python(replace(found, warnings=("give --no-flip.",), order=said))
    assert (plain.warnings, plain.order) == (("give flip=False.",), "as order text says")
    assert plain.prepared == found.prepared and "8 x 8 pixels" in found.prepared[0]
