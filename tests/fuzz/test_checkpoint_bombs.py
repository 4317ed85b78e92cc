"""Torch files that unpack to more than any machine has, or lead out of their folder."""

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fences import MARK, escapes, fenced
from forked_reader import Reader
from fuzzing import process
from strange_weights import TORCH, Code, archive, given_to_defend, loaded, zipped

pytestmark = pytest.mark.fuzz


def _laughs(levels: int, key: bool) -> bytes:
    """Each level holds the one before it twice: 2^levels elements to whoever reads or hashes
    it.
    """
    out = b"\x80\x02((tq\x00"
    for i in range(levels):
        out += b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1])
    return (
        out
        + b"t}"
        + (b"h" + bytes([levels]) + b"K\x01s" if key else b"K\x01h" + bytes([levels]) + b"s")
        + b"."
    )


BOMBS: dict[str, Callable[[], bytes]] = {  # made when they are wanted
    "2^60 tuples as a value": lambda: archive(_laughs(60, key=False)),
    "2^60 tuples as a key": lambda: archive(_laughs(60, key=True)),  # its hash takes years
    "a million lists in lists": lambda: archive(
        b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."
    ),
    "a million tuples in tuples as a key": lambda: archive(
        b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s."
    ),
    "bytearrays of 2^40": lambda: archive(
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R."
    ),
    "copies of bytearrays": lambda: archive(
        b"\x80\x02]cbuiltins\nbytearray\nq\x01\x8a\x05"
        + (2**30).to_bytes(5, "little")
        + b"\x85Rq\x02a"
        + b"h\x01h\x02\x85Ra" * 500
        + b"."
    ),
    "a tensor of 2^40": lambda: archive(
        b"\x80\x02ctorch\nFloatTensor\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R."
    ),
    "memo out of range": lambda: archive(b"\x80\x02h\x7f."),
    "no stop": lambda: archive(b"\x80\x02}"),
    "a zip bomb": lambda: archive(
        b"\x80\x02}.", {"archive/data/0": b"\0" * 2**28}, zipfile.ZIP_DEFLATED
    ),
    "an archive in an archive": lambda: archive(TORCH["zip"], {"archive/data/0": TORCH["zip"]}),
    "views of one number, 320 MiB": lambda: zipped(
        {str(i): torch.zeros(1).expand(2**20) for i in range(80)}
    ),
}


def _script() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        opened.writestr("m/constants.pkl", b"\x80\x02).")
        opened.writestr("m/code/__torch__.py", f"import os\nos.system('touch ran-{MARK}')\n")
        opened.writestr("m/data.pkl", b"\x80\x02c__torch__\nM\n)\x81}b.")
        opened.writestr("m/version", "3\n")
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as opened:
        for name, content in {
            "sys_info": pickle.dumps({}),
            "pickle": pickle.dumps(Code("os.system")),
            "storages": b"\x80\x02K\x00.",
            "tensors": b"\x80\x02K\x00.",
            **dict.fromkeys(escapes(), b"x"),
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _tricky(folder: str) -> bytes:
    """A whole state, and beside it files and links that lead out of where it is unpacked."""
    out = io.BytesIO(TORCH["zip"])
    with zipfile.ZipFile(out, "a") as opened:
        for name in escapes():
            opened.writestr(folder + name, b"x")
        link = zipfile.ZipInfo("archive/link")
        link.external_attr = 0o120777 << 16
        opened.writestr(link, "/var/tmp")
        opened.writestr(f"archive/link/{MARK}-link", b"x")
    return out.getvalue()


def _elsewhere() -> bytes:
    """A state whose numbers lie under a name that leads out."""
    plain = zipfile.ZipFile(io.BytesIO(zipped({"fc.bias": torch.zeros(4)})))
    name = f"../../{MARK}-storage".encode()
    pickled = plain.read("archive/data.pkl").replace(
        b"X\1\0\0\0" + b"0", b"X" + len(name).to_bytes(4, "little") + name
    )
    assert name in pickled
    return archive(
        pickled, {f"archive/data/{name.decode()}": b"\0" * 16, "archive/byteorder": b"little"}
    )


TRICKS = {
    "path tricks": lambda: _tricky(""),
    "path tricks below": lambda: _tricky("archive/"),
    "a storage elsewhere": _elsewhere,
}
BOMBS |= {"TorchScript": _script, "an old tar": _tar, **TRICKS}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(bomb: str, reader: Reader) -> None:
    verdict = loaded("checkpoint, bombs", BOMBS[bomb](), reader)
    assert verdict in ("refused", "contained") or bomb in TRICKS


@pytest.mark.parametrize("bomb", ["path tricks below", "a million tuples in tuples as a key"])
def test_the_command_line_refuses_a_bomb(bomb: str, images: Path) -> None:
    given_to_defend("checkpoint, bombs", BOMBS[bomb](), images)


def test_a_bomb_leaves_a_real_process_within_its_limits(images: Path) -> None:
    with fenced() as here:
        (here / "w.pt").write_bytes(BOMBS["copies of bytearrays"]())
        words = [
            "--model",
            "w.pt",
            "--arch",
            "resnet18:width=1",
            "--trusted",
            images,
            "--out",
            "out",
            "--size",
            8,
        ]
        verdict, _, said = process("checkpoint, real processes", "defend", *words)
        assert verdict == "refused"
        assert "more memory or time" in said
        assert {p.name for p in here.iterdir()} <= {"w.pt", "out"}
