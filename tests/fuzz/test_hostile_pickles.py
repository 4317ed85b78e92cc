"""Torch files from strangers: damaged, of any pickle opcodes, and with code in them; nothing in
them may run.
"""

import io
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forked_reader import Reader
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from strange_weights import (
    TORCH,
    Code,
    archive,
    given_to_defend,
    loaded,
    mutated,
    pickles,
    state,
    zipped,
)

pytestmark = pytest.mark.fuzz

HOWS = ("os.system", "exec", "Path.touch", "torch.load")
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda x: x,
    "a value": lambda x: {**state(), "fc.bias": x},
    "a key": lambda x: {x: 1},
    "deep": lambda x: {"state_dict": {"a": [({"b": x},)]}},
}


def test_code_is_refused_and_never_run(images: Path, reader: Reader) -> None:
    for how in HOWS:
        for put in PLACES.values():
            for content in pickles(put(Code(how))):
                assert loaded("checkpoint, code", content, reader) == "refused"
    for content in pickles({"a": Code("os.system")})[:3]:
        said = given_to_defend("checkpoint, code", content, images, reader)
        assert "could run code" in said or "no weights file" in said
    # its own reader
    said = given_to_defend("checkpoint, code", zipped({"a": Code("exec")}), images)
    assert "could run code" in said


@tries(90)
@given(content=mutated(TORCH["zip"]) | mutated(TORCH["old"]))
@example(content=b"PK")
@example(content=b"\x80")
@example(content=TORCH["zip"] + b"\0" * 70_000)
@example(content=b"PK\x05\x06" + b"\0" * 18)
def test_a_damaged_torch_file_leaves_its_reader_with_a_verdict(
    content: bytes, reader: Reader
) -> None:
    loaded("checkpoint, damaged torch files", content, reader)


OPCODES = [op.code.encode("latin1") for op in pickletools.opcodes]


@tries(120)
@given(
    st.lists(
        st.sampled_from(OPCODES)
        | st.sampled_from(
            [
                b"K\x01",
                b"X\x01\0\0\0a",
                b"ctorch\nSize\n",
                b"ccollections\nOrderedDict\n",
                b"cos\nsystem\n",
                b"cbuiltins\neval\n",
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                b"ctorch\nFloatStorage\n",
            ]
        )
        | st.binary(max_size=4),
        max_size=40,
    )
)
def test_any_program_of_pickle_opcodes_leaves_its_reader_with_a_verdict(
    reader: Reader, ops: list[bytes]
) -> None:
    pickled = b"\x80\x02" + b"".join(ops) + b"."
    assert loaded("checkpoint, pickle programs", archive(pickled), reader) != "accepted"


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(reader: Reader) -> None:
    pickled = zipfile.ZipFile(io.BytesIO(zipped({"fc.bias": torch.zeros(4)})))
    (name,) = [n for n in pickled.namelist() if n.endswith("data.pkl")]
    content = pickled.read(name)
    assert b"K\x04\x85" in content
    for size in (b"M\xff\xff\x85", b"J\xff\xff\xff\x7f\x85", b"J\xff\xff\xff\xff\x85"):
        hostile = archive(
            content.replace(b"K\x04\x85", size),
            {"archive/data/0": b"\0" * 16, "archive/byteorder": b"little"},
        )
        assert loaded("checkpoint, damaged torch files", hostile, reader) == "refused"
