"""``poisonsweep inspect`` on the command line: lines, JSON, and exit code 2."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sweep.cli import main
from trials.models import small_cnn

pytestmark = pytest.mark.usefixtures("quick_reader")


def inspected(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *map(str, words)])
    return int(str(ended.value.code))


def test_a_torch_file_is_told_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = nn.DataParallel(small_cnn.build(3, 8, width=2))
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    assert inspected(tmp_path / "w.pt") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"file          {tmp_path / 'w.pt'}: torch, zip archive, 0.0 MiB",
        "state dict    in model; beside it: epoch",
        "names         have 'module.' in front",
        "tensors       16 (14 float32, 2 int64), 333 parameters",
        "first layer   module.layer1.0.weight, 2 x 3 x 3 x 3",
        "last layer    module.fc.weight, 3 x 64: 3 classes",
        "fits          --arch small_cnn:width=2, by all names and shapes",
    ]


def test_another_architecture_is_told_by_its_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = small_cnn.build(3, 8, width=2).state_dict()
    save_file({**state, "x\x1b[2J": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert inspected(tmp_path / "w.safetensors", "--arch", "small_cnn:width=4") == 0
    out = capsys.readouterr().out
    assert "fits          not quite; nearest is --arch small_cnn:width=4, " in out
    assert "unexpected    x\\x1b[2J" in out
    assert "other shape   fc.weight is 3 x 64, expected 3 x 128" in out


def test_weights_of_no_known_architecture_may_be_of_one_of_timms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timm = pytest.importorskip("timm")
    save_file(timm.create_model("test_vit", num_classes=3).state_dict(), tmp_path / "w.safetensors")
    assert inspected(tmp_path / "w.safetensors") == 0
    out = capsys.readouterr().out
    assert "fits          no known architecture" in out
    assert "try           --arch timm:NAME" in out


def test_json_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(small_cnn.build(3, 8, width=2).state_dict(), tmp_path / "w.pt")
    assert inspected(tmp_path / "w.pt", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["classes"], found["tensors"]) == (3, 16)
    assert found["last"] == ["fc.weight", [3, 64]]
    assert found["fits"][0]["label"] == "small_cnn:width=2"
    assert found["fits"][0]["complete"] is True


@pytest.mark.parametrize("what", ["absent", "text", "code", "page"])
def test_what_cannot_be_read_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    file = tmp_path / "w.pt"
    if what == "code":
        torch.save(nn.Linear(2, 2), file)
    elif what != "absent":
        file.write_text("hello" if what == "text" else "<html>404")
    assert inspected(file) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith("poisonsweep: ")
    assert said.err.count("\n") == 1
