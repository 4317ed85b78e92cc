"""Safetensors from strangers that are damaged or lie, and what is no file at all."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from fuzzing import command, tries
from hypothesis import given
from safetensors.torch import save
from strange_weights import given_to_defend, mutated, state

pytestmark = pytest.mark.fuzz

SAFE = save(state())


def lying(head: Any, body: bytes = b"\0" * 64, size: int | None = None) -> bytes:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def tensors(shape: list[Any], dtype: Any = "F32", offsets: Any = (0, 64)) -> dict[str, Any]:
    return {"conv1.weight": {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}}


LIES = {
    "header of 2^63 bytes": lying(b"{}", size=2**63),
    "header of 2^64 - 1 bytes": lying(b"{}", size=2**64 - 1),
    "header longer than the file": lying(tensors([4]), size=10**8),
    "shape of 2^80": lying(tensors([2**40, 2**40])),
    "shape whose product wraps to 0": lying(tensors([2**32, 2**32])),
    "negative shape": lying(tensors([-1])),
    "offsets backwards": lying(tensors([16], offsets=(64, 0))),
    "offsets of 2^63": lying(tensors([16], offsets=(2**63, 2**63 + 64))),
    "unknown type": lying(tensors([16], "PICKLE")),
    "type of 4 bits": lying(tensors([128], "F4")),
    "deep JSON": lying(b'{"a":' + b"[" * 10**5),
    "thousand-character names": lying(
        {
            f"{'k' * 1000}{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
            for i in range(2000)
        },
        b"",
    ),
    "control characters in a name": lying(
        {"\x1b[2J\n": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}
    ),
    "lone surrogate in a name": lying(
        b'{"\\ud800":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}'
    ),
    "a name twice": lying(
        b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
        b"",
    ),
    "metadata of a MiB": lying({"__metadata__": {"a": "b" * 2**20}}, b""),
    "nothing": b"",
    "only a length": struct.pack("<Q", 2),
    "no tensors": lying({}, b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_safetensors_file_that_lies_is_refused(lie: str, images: Path) -> None:
    for name in ("w.safetensors", "w"):
        given_to_defend("checkpoint, lying safetensors", LIES[lie], images, name=name)


@tries(120)
@given(content=mutated(SAFE))
def test_a_damaged_safetensors_file_is_refused(content: bytes, images: Path) -> None:
    given_to_defend("checkpoint, damaged safetensors", content, images, name="w.safetensors")


def test_what_is_no_file_is_no_checkpoint(images: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "empty").touch()
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2**42)
    (tmp_path / "outside.safetensors").symlink_to("/etc/passwd")
    for path in [
        *tmp_path.iterdir(),
        tmp_path,
        Path("/dev/zero"),
        tmp_path / "absent",
        tmp_path / ("x" * 4000),
    ]:
        given_to_defend("checkpoint, special files", path, images)


@pytest.mark.parametrize(
    "arch",
    [
        "os:system=1",
        "../x",
        "resnet18:width=0",
        "resnet18:width=" + "9" * 5000,
        "resnet18:width=1000000000",
        "resnet18:__class__=1",
        "",
        ":",
        "resnet18:width",
        "resnet18:norm=</script>",
        "\x1b[2J",
        "_normalize",
        "torchvision:vgg11.__class__",
        "torchvision:" + "v" * 5000,
        "torchvision:vgg11,weights=DEFAULT",
        "timm:hf_hub:someone/something",
        "no_such_package.nets:net",
        "json:loads,s=1",
    ],
)
def test_an_architecture_that_is_none_is_one_line(arch: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(SAFE)
    words = [
        "--model",
        tmp_path / "w",
        "--arch",
        arch,
        "--trusted",
        images,
        "--out",
        tmp_path / "out",
    ]
    assert command("command line", "defend", *words)[0] == "refused"
