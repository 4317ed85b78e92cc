"""Torch files from strangers: damaged, of any pickle opcodes, and with code in them; nothing in
them may run.
"""

import io
import pickletools
import zipfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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

from trials.weights import _unpack

pytestmark = pytest.mark.fuzz

HOWS = ("os.system", "exec", "Path.touch", "torch.load")
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda x: x,
    "a value": lambda x: {**state(), "fc.bias": x},
    "a key": lambda x: {x: 1},
    "deep": lambda x: {"state_dict": {"a": [({"b": x},)]}},
    "in an array": lambda x: {"state_dict": state(), "a": np.array([x, None], dtype=object)},
    "in arguments": lambda x: {"state_dict": state(), "args": Namespace(lr=x)},
    "a factory": lambda x: {"state_dict": state(), "d": _with_factory(x)},
}


def _with_factory(x: Any) -> Any:
    """A defaultdict that has the object in it."""
    found: defaultdict[str, Any] = defaultdict(list)
    found["x"] = x
    return found


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
                b"cnumpy\ndtype\n",
                b"cnumpy.core.multiarray\n_reconstruct\n",
                b"cargparse\nNamespace\n",
                b"ccollections\ndefaultdict\n",
                b"ccollections\ndeque\n",
                b"c__builtin__\ndict\n",
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


def test_objects_that_could_describe_others_memory_are_never_built(tmp_path: Path) -> None:
    """A numpy.dtype takes any fields and sizes as its state: of an array of such a dtype every
    element would be read from memory that is not its own.
    """
    kind, objects = (
        b"cnumpy\ndtype\nX\x02\0\0\0" + name + b"K\0K\x01\x87R" for name in (b"V8", b"O8")
    )
    fields = b"}X\x01\0\0\0a" + objects + b"M\xff\xff\x86s"
    state_of = b"(K\x03X\x01\0\0\0|NX\x01\0\0\0a\x85" + fields + b"K\x08K\x01K\0tb"
    array = b"cnumpy.core.multiarray\nscalar\n" + kind + state_of + b"U\x08AAAAAAAA\x86R"
    (tmp_path / "w.pt").write_bytes(archive(b"\x80\x02}X\x01\0\0\0a" + array + b"s."))
    with pytest.raises(_unpack.Refused) as caught:  # read to its end, and no weights in it
        _unpack.read(str(tmp_path / "w.pt"))
    assert caught.value.args == (_unpack.NO_STATE,)


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
