"""Files and folders that are no weights: what each is and what to do, in one line."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trials.models import resnet18
from trials.spec import SpecError
from trials.weights.files import load_weights

MODEL = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2))


def _script(file: Path) -> None:
    torch.jit.save(torch.jit.trace(MODEL, torch.rand(1, 3, 8, 8)), file)  # type: ignore[no-untyped-call]


def _export(file: Path) -> None:
    torch.export.save(torch.export.export(MODEL, (torch.rand(1, 3, 8, 8),)), file)


def _keras(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")


def _zipped(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/weights.pth", b"x")


def _saved_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    (folder / "variables").mkdir()


def _shards(file: Path) -> None:
    for i, part in enumerate(MODEL[i] for i in (0, 2)):
        save_file(part.state_dict(), file.parent / f"model-{i + 1}.safetensors")
    where = {f"{i}.weight": f"model-{i // 2 + 1}.safetensors" for i in (0, 2)}
    file.write_text(json.dumps({"metadata": {"total_size": 10}, "weight_map": where}))


def _pointer(file: Path) -> None:
    file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n")


# a graph of one Identity node, as protobuf: version 8, producer, graph
ONNX = bytes.fromhex(
    "080812077079746f7263683a1b0a100a01611201622208 4964656e746974791207 6d61696e".replace(" ", "")
)
KINDS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "TorchScript": ("m.pt", _script, "is a TorchScript archive.*torch.jit.load"),
    "exported": ("m.pt2", _export, "is an exported program.*torch.export.load"),
    "ONNX": ("m.onnx", lambda f: f.write_bytes(ONNX), "is ONNX.*state dict"),
    "ONNX by another name": ("m.bin", lambda f: f.write_bytes(ONNX), "is ONNX.*state dict"),
    "HDF5": ("m.h5", lambda f: f.write_bytes(b"\x89HDF\r\n\x1a\n\0\0"), "is HDF5, as Keras"),
    "Keras": ("m.keras", _keras, "is a Keras archive"),
    "SavedModel": ("model", _saved_model, "is a TensorFlow SavedModel"),
    "LFS": ("m.safetensors", _pointer, "is a Git LFS pointer.*git lfs pull"),
    "HTML": ("m.pth", lambda f: f.write_text("\n<!DOCTYPE html><p>404"), "is a web page.*failed"),
    "shards": ("m.safetensors.index.json", _shards, r"in 2 files \(model-1.safetensors, ...\)"),
    "JSON": ("config.json", lambda f: f.write_text('{"a": 1}'), "is JSON, not weights"),
    "gzip": ("m.gz", lambda f: f.write_bytes(gzip.compress(b"x")), "compressed with gzip"),
    "zip": ("m.zip", _zipped, "zip archive of other files. Unpack it"),
    "numpy": ("m.npy", lambda f: f.write_bytes(b"\x93NUMPY\1\0"), "is one numpy array"),
}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("kind", KINDS)
def test_says_what_the_file_is_and_what_to_do(tmp_path: Path, kind: str) -> None:
    name, make, says = KINDS[kind]
    make(tmp_path / name)
    with pytest.raises(SpecError, match=says) as caught:
        load_weights(resnet18.build(2, 8, width=1), tmp_path / name)
    assert "\n" not in str(caught.value)


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
    _script(tmp_path / "m.pt")
    torch.save(torch.jit.load(tmp_path / "m.pt").state_dict(), tmp_path / "weights.pt")  # type: ignore[no-untyped-call]
    other = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2))
    load_weights(other, tmp_path / "weights.pt")
    assert torch.equal(other.state_dict()["2.weight"], MODEL.state_dict()["2.weight"])
    _export(tmp_path / "m.pt2")
    torch.save(torch.export.load(tmp_path / "m.pt2").state_dict, tmp_path / "weights.pt")
    load_weights(other, tmp_path / "weights.pt")
