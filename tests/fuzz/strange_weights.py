"""Weights from strangers: how they are made, and how they are given to the product."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from fences import MARK, fenced, lean
from forked_reader import Reader
from fuzzing import bounded, command, judged, tallied
from hypothesis import strategies as st
from torch import Tensor

from sweep.console.terminal import line
from trials.models import resnet18
from trials.spec import SpecError
from trials.weights import _unpack
from trials.weights.files import load_weights

State = dict[str, Tensor]


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return resnet18.build(2, 8, width=1)


def state() -> State:
    return dict(model().state_dict())


def legacy(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=False)
    return out.getvalue()


def zipped(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def archive(
    pickled: bytes, extra: dict[str, bytes] | None = None, how: int = zipfile.ZIP_STORED
) -> bytes:
    """A torch file of the newer kind with this program and these files in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as opened:
        for name, content in {
            "archive/data.pkl": pickled,
            "archive/version": b"3\n",
            **(extra or {}),
        }.items():
            opened.writestr(name, content)
    return out.getvalue()


class Code:
    """Unpickled, it makes files with the mark in their names."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        if self.how == "os.system":
            return os.system, (f"touch ran-{MARK} /var/tmp/ran-{MARK} ~/ran-{MARK}",)
        if self.how == "exec":
            return exec, (f"open('ran-{MARK}', 'w').close()",)
        if self.how == "torch.load":
            return torch.load, (f"ran-{MARK}",)
        return Path.touch, (Path(f"ran-{MARK}"),)


OURS = model()
PLAIN = state()
TORCH = {"zip": zipped(PLAIN), "old": legacy(PLAIN)}


# bytes that this process may take: three times what a model of this size may have, and some
READ = 256 * 2**20


def loaded(kind: str, content: bytes, reader: Reader, name: str = "w.pt") -> str:
    """The verdict of ``load_weights``, which starts its reader by a fork; refused weights leave the
    model unchanged.
    """

    def call() -> str:
        with fenced() as folder, bounded(), lean(READ), pytest.MonkeyPatch.context() as patch:
            patch.setattr(_unpack, "_reader", reader)
            (folder / name).write_bytes(content)
            said, code = "", 0
            try:
                load_weights(OURS, folder / name)
            except SpecError as problem:
                said, code = f"poisonsweep: {line(str(problem))}\n", 2
            assert [p.name for p in folder.iterdir()] == [name]
        same = all(torch.equal(v, PLAIN[k]) for k, v in OURS.state_dict().items())
        OURS.load_state_dict(PLAIN)
        assert same or not code, "a refused file changed the model"
        return judged(code, "", said)

    return tallied(kind, call)


def given_to_defend(
    kind: str, content: bytes | Path, images: Path, reader: Reader | None = None, name: str = "w.pt"
) -> str:
    """What ``defend`` says of it: its model is wrong for its images in any case, so it ends before
    it computes.
    """
    with fenced() as folder, pytest.MonkeyPatch.context() as patch:
        if reader:
            patch.setattr(_unpack, "_reader", reader)
        file = folder / name
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file = content
        words = [
            "--model",
            file,
            "--arch",
            "resnet18:width=1",
            "--trusted",
            images,
            "--out",
            folder / "out",
        ]
        verdict, _, said = command(kind, "defend", *words, "--size", 8)
        made = {p.name for p in folder.iterdir()} - {name, "out"}
        assert not made, made
        assert not (folder / "out" / "repaired.safetensors").exists()
    assert verdict in ("refused", "contained")
    return said


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """The content cut off, with bits flipped, or with a piece replaced."""
    at = st.integers(0, len(content) - 1)
    head = st.integers(0, min(600, len(content) - 1))
    cut = at.map(lambda i: content[:i])
    flip = st.lists(st.tuples(at | head, st.integers(0, 7)), min_size=1, max_size=20).map(
        lambda bits: _flipped(content, bits)
    )
    patch = st.tuples(at | head, st.binary(min_size=1, max_size=12)).map(
        lambda p: content[: p[0]] + p[1] + content[p[0] + len(p[1]) :]
    )
    return cut | flip | patch


def _flipped(content: bytes, bits: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for at, bit in bits:
        changed[at] ^= 1 << bit
    return bytes(changed)


def pickles(value: Any) -> list[bytes]:
    """The value in each form that a torch file may have."""
    return [zipped(value), legacy(value), pickle.dumps(value, 0), pickle.dumps(value, 5)]
