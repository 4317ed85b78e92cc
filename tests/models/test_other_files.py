"""Damaged indices, folders of weights, and the commands that refusals name. Files of other kinds
are in test_files_refused.py, where ``defend`` gets them.
"""

from pathlib import Path

import pytest
import torch
from other_files import MODEL, export, script
from safetensors.torch import save_file
from torch import nn

from trials.models import resnet18
from trials.spec import SpecError
from trials.weights.files import load_weights


@pytest.mark.parametrize(
    "text", ["{", '{"weight_map": 3}', '{"weight_map": {}}', "[" * 100_000, '{"weight_map": [1]}']
)
def test_a_damaged_index_is_refused_too(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.index.json"
    file.write_text(text)
    with pytest.raises(SpecError, match="is JSON|names no files|no weights file"):
        load_weights(resnet18.build(2, 8, width=1), file)


def test_a_folder_names_the_weights_in_it(tmp_path: Path) -> None:
    save_file(MODEL.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(SpecError, match=r"it is a folder. Give .* in it: model.safetensors"):
        load_weights(resnet18.build(2, 8, width=1), tmp_path)


@pytest.mark.filterwarnings("ignore:.*")
def test_the_line_of_torchscript_gives_a_state_dict(tmp_path: Path) -> None:
    script(tmp_path / "m.pt")
    torch.save(torch.jit.load(tmp_path / "m.pt").state_dict(), tmp_path / "weights.pt")  # type: ignore[no-untyped-call]
    other = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2))
    load_weights(other, tmp_path / "weights.pt")
    assert torch.equal(other.state_dict()["2.weight"], MODEL.state_dict()["2.weight"])
    export(tmp_path / "m.pt2")
    torch.save(torch.export.load(tmp_path / "m.pt2").state_dict, tmp_path / "weights.pt")
    load_weights(other, tmp_path / "weights.pt")
