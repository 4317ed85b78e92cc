"""Files and folders that are no weights, or that hold more than weights: how each is made, and what
it is refused with.
"""

import gzip
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

MODEL = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2))


def script(file: Path) -> None:
    torch.jit.save(torch.jit.trace(MODEL, torch.rand(1, 3, 8, 8)), file)  # type: ignore[no-untyped-call]


def export(file: Path) -> None:
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
    "TorchScript": ("m.pt", script, "is a TorchScript archive.*torch.jit.load"),
    "exported": ("m.pt2", export, "is an exported program.*torch.export.load"),
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


class Evil:
    """Creates a file when it is unpickled the careless way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def evil(file: Path, form: str, trace: Path) -> None:
    """Weights with code in them, which makes the file ``trace``."""
    content = {**MODEL.state_dict(), "x": Evil(trace)}
    if form in ("pickle", "named safetensors"):
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "torch")


# by form: the file's name, and what it is refused with
CODE = {
    "pickle": ("w.pt", "could run code: refused"),
    "torch": ("w.pt", "could run code: refused"),
    "legacy": ("w.pt", "could run code: refused"),
    "named safetensors": ("w.safetensors", "no whole safetensors"),
}
