"""``inspect`` of a Hugging Face folder: what ``defend`` would take, and why it would not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hf_folders
import pytest
import torch
from hf_folders import COLOURS
from safetensors.torch import load_file, save_file

from sweep.cli import main
from sweep.commands.fitting import fitting
from sweep.commands.inspect import look
from trials.spec import SpecError

pytestmark = pytest.mark.usefixtures("quick_reader")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``vit/`` and ``parts/``, the same in several files; ``resnet/`` as pytorch_model.bin."""
    top = tmp_path_factory.mktemp("given")
    for name, model, how in (
        ("vit", hf_folders.vit(), {}),
        ("parts", hf_folders.vit(), {"max_shard_size": "20KB"}),
        ("resnet", hf_folders.resnet(), {}),
    ):
        model.save_pretrained(top / name, **how)
        hf_folders.processor("vit").save_pretrained(top / name)
    whole = top / "resnet" / "model.safetensors"
    torch.save(load_file(whole), whole.with_name("pytorch_model.bin"))
    whole.unlink()
    return top


def told(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """The lines of the command by their head."""
    with pytest.raises(SystemExit, match="^0$"):
        main(["inspect", str(folder), *words])
    lines = capsys.readouterr().out.splitlines()
    return {line[:14].strip(): line[14:] for line in lines}


@pytest.mark.parametrize(
    ("name", "architecture", "weights"),
    [
        ("vit", "ViTForImageClassification", "vit/model.safetensors: safetensors, 0.1 MiB"),
        ("parts", "ViTForImageClassification", "parts: safetensors in 5 files, 0.1 MiB"),
        ("resnet", "ResNetForImageClassification", "pytorch_model.bin: torch, zip archive, 0."),
    ],
)
def test_it_is_told_line_by_line(
    given: Path, capsys: pytest.CaptureFixture[str], name: str, architecture: str, weights: str
) -> None:
    lines = told(given / name, capsys)
    model_type = architecture.partition("For")[0].lower()
    assert lines.pop("folder") == f"{given / name}: Hugging Face"
    assert lines.pop("architecture") == f"{architecture} (model type {model_type})"
    assert lines.pop("classes") == "4: blue, dark and 2 more"
    assert lines.pop("image size") == "16 x 16 pixels"
    normal = "mean 0.5 0.4 0.3, std 0.25 0.2 0.3, of preprocessor_config.json"
    assert lines.pop("normalisation") == normal
    assert weights in lines.pop("file")
    assert lines.pop("fits") == f"{architecture}, by all names and shapes"
    assert lines.pop("defend") == f"poisonsweep defend --model {given / name} --trusted IMAGES"
    assert lines.keys() == {"tensors", "first layer", "last layer"}
    assert lines["last layer"].endswith(": 4 classes")


def test_json_has_all_of_it(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="^0$"):
        main(["inspect", str(given / "parts"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["folder"]["names"] == list(COLOURS)
    assert (found["folder"]["size"], found["folder"]["refused"]) == (16, "")
    assert (found["parts"], found["fits"][0]["complete"]) == (5, True)


def test_another_architecture_is_compared_with(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(given / "vit", capsys, "--arch", "small_cnn")
    assert "nearest is --arch small_cnn" in lines["fits"]
    assert lines["defend"] == "refuses it: its weights do not fit"


def changed(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def seven_classes(folder: Path) -> None:
    file = folder / "model.safetensors"
    head = {"classifier.weight": torch.zeros(7, 32), "classifier.bias": torch.zeros(7)}
    save_file({**load_file(file), **head}, file)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "code": (changed(auto_map={"AutoModel": "modeling.Net"}), "asks for code of its own"),
    "kind": (changed(model_type="bert", architectures=["BertModel"]), "is of BertModel, which"),
    "unknown": (changed(model_type="vitt"), "'vitt' is none that this transformers knows"),
    "size": (changed(image_size=24, patch_size=5), "does not take images of 16 x 16 pixels"),
    "large": (changed(hidden_size=2**20), "million weights; 1,000 million at most"),
    "none": (without_weights, "but no weights: needed is model.safetensors or"),
    "head": (seven_classes, "its weights do not fit"),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_what_defend_refuses_is_said_beside_what_is_there_and_nothing_is_run(
    given: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    change, says = REFUSED[what]
    shutil.copytree(given / "vit", tmp_path / "vit")
    change(tmp_path / "vit")
    (tmp_path / "vit" / "modeling.py").write_text("open('executed', 'w')")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    lines = told(tmp_path / "vit", capsys)
    assert lines["defend"].startswith("refuses it: ") and says in lines["defend"]
    assert lines["classes"] == "4: blue, dark and 2 more"
    assert ("file" in lines) == (what != "none")
    assert ("warning" in lines) == (what == "code")
    assert not list(Path().iterdir())


def test_a_configuration_that_cannot_be_read_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(SystemExit, match="2"):
        main(["inspect", str(tmp_path)])
    said = capsys.readouterr()
    assert "cannot be read" in said.err and said.err.count("\n") == 1 and not said.out


def test_which_defenses_it_can_have(given: Path, tmp_path: Path) -> None:
    found = fitting("defenses", str(given / "vit"), 32).lacks
    assert found["fst"] == "" and found["bn_refresh"] == "needs a model with batch normalisation"
    assert set(fitting("defenses", str(given / "resnet"), 32).lacks.values()) == {""}
    shutil.copytree(given / "vit", tmp_path / "vit")
    changed(auto_map={})(tmp_path / "vit")
    with pytest.raises(SpecError, match="asks for code of its own"):
        fitting("defenses", str(tmp_path / "vit"), 32)


def test_a_folders_type_of_weights_is_told(given: Path, tmp_path: Path) -> None:
    shutil.copytree(given / "vit", tmp_path / "vit")
    file = tmp_path / "vit" / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(file).items()}, file)
    found = look(tmp_path / "vit").inspection
    assert found is not None and found.types == {"float16": 40} and found.fits[0].complete
