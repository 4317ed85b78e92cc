"""Files and folders that hold a model, or look so, and are no state dict: what each is, and what to
do instead.
"""

import json
import shlex
import zipfile
from pathlib import Path

ACCEPTED = (
    "Accepted: safetensors, or a plain state dict saved by torch.save(model.state_dict(), file)."
)
_SAVE = "save the model's state dict with torch.save(model.state_dict(), file)"
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_START = 512  # bytes that tell a kind
_INDEX = 16 * 2**20  # bytes of an index; the largest have some MiB
_KINDS = {  # how a file begins
    _LFS: "is a Git LFS pointer, not the file itself. Fetch it with git lfs pull.",
    b"\x89HDF\r\n\x1a\n": (
        "is HDF5, as Keras writes it. Only PyTorch's weights are read: convert the weights to "
        "PyTorch first."
    ),
    b"\x1f\x8b": "is compressed with gzip. Unpack it first.",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive. Unpack it first.",
    b"\x93NUMPY": f"is one numpy array, not a model's weights. In the training code {_SAVE}.",
    b"GGUF": "is GGUF, as language models have it, and not an image classifier's weights.",
}
_ONNX = (
    "is ONNX, a graph without PyTorch's names. In the program that exported it, save the state "
    "dict: torch.save(model.state_dict(), file)."
)
_SCRIPT = (
    "is a TorchScript archive, which holds code. In Python, if you trust where it is from: "
    "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')."
)
_EXPORT = (
    "is an exported program (.pt2). In Python, if you trust where it is from: "
    "torch.save(torch.export.load(FILE).state_dict, 'weights.pt')."
)
_KERAS = "is a Keras archive. Only PyTorch's weights are read: convert them to PyTorch first."
_ARCHIVE = "is a zip archive of other files. Unpack it, and give the weights file in it."


def other_kind(path: Path) -> str | None:
    """What a path is instead of weights, and what to do; None where nothing is known against it.

    Raises OSError where it cannot be read.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():  # a pipe or a device would be read for ever
        return None
    with path.open("rb") as stream:
        start = stream.read(_START)
    said = next((what for begins, what in _KINDS.items() if start.startswith(begins)), None)
    if said or (said := _text(path, start)):
        return said
    if path.suffix == ".onnx" or (start[:1] == b"\x08" and start[2:3] == b"\x12"):
        return _ONNX
    return _archive(path) if start.startswith(b"PK") else None


def convert(path: Path) -> str:
    """The command that makes a state dict of a pickled object; it runs what the file holds."""
    code = (
        "import sys, torch; m = torch.load(sys.argv[1], weights_only=False, map_location='cpu'); "
        "torch.save(m['state_dict'] if isinstance(m, dict) else m.state_dict(), 'weights.pt')"
    )
    return f'python -c "{code}" {shlex.quote(str(path))}'


def _text(path: Path, start: bytes) -> str | None:
    begins = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if begins.startswith(_PAGES):
        return "is a web page, so the download of the file failed. Open the address in a browser."
    if begins.startswith(b"{") and path.suffix == ".json":
        return _index(path)
    return None


def _index(path: Path) -> str:
    """What a JSON file is; of a sharded model's index, into how many files it is split."""
    try:
        size = path.stat().st_size
        found = json.loads(path.read_bytes()) if size <= _INDEX else {}
        shards = sorted(set(map(str, found["weight_map"].values())))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return f"is JSON, not weights. {ACCEPTED}"
    return (
        f"is the index of weights that lie in {len(shards)} files ({shards[0][:80]}, ...). Write "
        "them as one file with safetensors: save_file of the tensors of all of them."
        if shards
        else f"is an index that names no files. {ACCEPTED}"
    )


def _archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as opened:
            names = opened.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None  # torch says what is wrong
    ends = {name.partition("/")[2] or name for name in names} | set(names)
    if "constants.pkl" in ends and any(name.startswith("code/") for name in ends):
        return _SCRIPT
    if "model.weights.h5" in ends:
        return _KERAS
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        return _EXPORT
    return None if any(name.endswith(".pkl") for name in ends) else _ARCHIVE


def _folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return (
            "is a TensorFlow SavedModel. Only PyTorch's weights are read: convert them to PyTorch "
            "first."
        )
    weights = sorted(p.name for p in path.glob("*.safetensors"))
    if weights:
        return f"is a folder. Give the weights file in it: {weights[0]}."
    return f"is a folder. {ACCEPTED}"
