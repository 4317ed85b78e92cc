"""Whatever file ``defend`` does not take: one line, exit code 2, nothing run, nothing written."""

import re
from collections.abc import Callable
from pathlib import Path

import hf_folders
import other_files
import pytest
import torch
from commands_run import refused
from forked_reader import Reader
from safetensors.torch import save_file
from torch import nn

from trials.models import resnet18
from trials.weights import _unpack

Made = tuple[str, Callable[[Path], object], str]


def torch_file(content: object) -> Callable[[Path], None]:
    return lambda file: torch.save(content, file)


def cut(file: Path) -> None:
    save_file(other_files.MODEL.state_dict(), file)
    file.write_bytes(file.read_bytes()[:-9])


def folder(file: Path) -> None:
    file.mkdir()
    save_file(other_files.MODEL.state_dict(), file / "model.safetensors")


def with_code(form: str) -> Made:
    """As the file is made beside the folder of the user, so is its trace."""
    name, says = other_files.CODE[form]
    return name, lambda file: other_files.evil(file, form, file.parent / "pwned"), says


WHOLE = "could run code: refused.*only if you trust where it is from: python -c"
FILES: dict[str, Made] = {
    **other_files.KINDS,
    **{f"code, {form}": with_code(form) for form in other_files.CODE},
    "a whole model": ("m.pt", torch_file(other_files.MODEL), WHOLE),
    "a module beside weights": ("m.pt", torch_file({"model": {}, "x": nn.ReLU()}), WHOLE),
    "a list": ("m.pt", torch_file([1, 2, 3]), "no state dict"),
    "of another architecture": (
        "m.pt",
        torch_file(other_files.MODEL.state_dict()),
        "it is of another architecture",
    ),
    "of other classes": (
        "m.pt",
        torch_file(resnet18.build(3, 8, width=1).state_dict()),
        "a model of 3 classes, and 4 are asked for",
    ),
    "cut off": ("m.safetensors", cut, "no whole safetensors"),
    "text": ("m.pth", lambda f: f.write_text("hello"), "no weights file"),
    "empty": ("m.pth", lambda f: f.touch(), "no weights file|empty"),
    "a folder": ("model", folder, "is a folder. Give .* in it: model.safetensors"),
    "absent": ("m.pth", lambda _: None, "which does not exist"),
}


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_folders.images(tmp_path_factory.mktemp("colours") / "images", each=6, side=8)


def lying(top: Path) -> dict[str, bytes]:
    """All that lies in a folder."""
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in top.rglob("*")}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_not_taken_is_one_line_and_nothing_is_run_or_written(
    kind: str,
    trusted: Path,
    tmp_path: Path,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_unpack, "_reader", reader)
    name, make, says = FILES[kind]
    make(tmp_path / name)
    (tmp_path / "earlier").mkdir()  # the folder of a run before, with its store
    (tmp_path / "earlier" / "sweep.db").write_bytes(b"as it was")
    monkeypatch.chdir(tmp_path)
    before = lying(tmp_path)
    for out in ("out", "earlier"):
        words = ("--arch", "resnet18:width=1", "--trusted", trusted, "--size", 8, "--out", out)
        said = refused(capsys, "defend", "--model", name, *words, "--device", "cpu")
        assert re.search(says, said), said
    assert lying(tmp_path) == before
