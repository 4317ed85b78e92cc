"""Checkpoints from strangers: damaged, lying, exploding, and with code in them; nothing in them may run."""

import io
import json
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import REPOSITORY, command, fenced, process, tallied, tries
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from trials.models import resnet18

pytestmark = pytest.mark.fuzz

State = dict[str, Tensor]
ZYGOTE = """
import os, sys
import torch
from trials import _unpack
torch.set_num_threads(1)
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
        try:
            _unpack._main(line.rstrip(chr(10)), str(2**26))
            sys.stdout.flush()
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            code = 1
        os._exit(code)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def state() -> State:
    torch.manual_seed(0)
    model = resnet18.build(2, 8, width=1)
    return model.state_dict()


def legacy(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=False)
    return out.getvalue()


def zipped(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


SAFE, ZIP, OLD = save(state()), zipped(state()), legacy(state())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trusted")
    for label in range(2):
        (root / f"class{label}").mkdir()
        for i in range(6):
            Image.fromarray(np.full((8, 8, 3), 40 * i + label, np.uint8)).save(root / f"class{label}" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def opener() -> Iterator[Callable[[bytes], int]]:
    """Opens torch files as the product does, each in a process of its own, without loading torch for each anew."""
    words = [sys.executable, "-c", ZYGOTE]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with (
        fenced() as folder,
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True
        ) as running,
    ):
        assert running.stdin
        assert running.stdout

        def opened(content: bytes) -> int:
            (folder / "w").write_bytes(content)
            print(folder / "w", file=running.stdin, flush=True)
            return int(running.stdout.readline())  # type: ignore[union-attr]

        yield opened
        running.stdin.close()


def given_to_defend(kind: str, content: bytes | Path, images: Path, *more: object, name: str = "w.pt") -> str:
    """The model is wrong for its images in any case, so ``defend`` always ends before it computes."""
    with fenced() as folder:
        model = folder / name
        if isinstance(content, bytes):
            model.write_bytes(content)
        else:
            model = content
        verdict, _, said = command(
            kind,
            "defend",
            "--model",
            model,
            "--arch",
            "resnet18:width=1",
            "--trusted",
            images,
            "--out",
            folder / "out",
            "--size",
            8,
            *more,
        )
        made = {p.name for p in folder.iterdir()} - {name, "out"}
        assert not made, made
        assert not (folder / "out" / "repaired.safetensors").exists()
    assert verdict == "refused"
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
        {f"{'k' * 1000}{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(2000)}, b""
    ),
    "control characters in a name": lying({"\x1b[2J\n": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}),
    "lone surrogate in a name": lying(b'{"\\ud800":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}}'),
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


VALUES: dict[str, Callable[[], Any]] = {
    "nan": lambda: {k: v * float("nan") for k, v in state().items()},
    "infinite": lambda: {k: v + float("inf") if v.is_floating_point() else v for k, v in state().items()},
    "complex": lambda: {k: v.to(torch.complex64) for k, v in state().items()},
    "complex counters": lambda: {k: v.to(torch.complex64) if k.endswith("tracked") else v for k, v in state().items()},
    "booleans": lambda: {k: v.bool() for k, v in state().items()},
    "sparse": lambda: {k: v.to_sparse() if v.dim() == 2 else v for k, v in state().items()},
    "quantised": lambda: {k: torch.quantize_per_tensor(v.float(), 0.1, 0, torch.qint8) for k, v in state().items()},
    "meta": lambda: {k: v.to("meta") for k, v in state().items()},
    "expanded to 2^50 numbers": lambda: {"fc.bias": torch.zeros(1).expand(2**25, 2**25)},
    "right shapes of one number": lambda: {
        k: torch.ones(1, dtype=v.dtype).expand(v.shape) if v.dim() else v for k, v in state().items()
    },
    "strings": lambda: dict.fromkeys(state(), "x"),
    "lists of tensors": lambda: {k: [v] for k, v in state().items()},
    "numbers for names": lambda: dict(enumerate(state().values())),
    "thousand-character names": lambda: {k * 1000: v for k, v in state().items()},
    "controls in names": lambda: {f"\x1b[2J{k}\n": v for k, v in state().items()},
    "a model, not a state": lambda: nn.Linear(2, 2),
    "numpy": lambda: {k: v.numpy() for k, v in state().items()},
    "wrapped in itself": lambda: _knot(),  # noqa: PLW0108 - defined below
    "wrapped two hundred times": lambda: _wrapped(200),
}


def _knot() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["model"] = value
    return value


def _wrapped(depth: int) -> Any:
    value: Any = state()
    for _ in range(depth):
        value = {"state_dict": value}
    return value


class Code:
    """Unpickled, it makes the file ``ran``."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        if self.how == "os.system":
            return os.system, ("touch ran",)
        if self.how == "exec":
            return exec, ("open('ran', 'w')",)
        if self.how == "torch.load":
            return torch.load, ("ran",)
        return Path.touch, (Path("ran"),)


HOWS = ("os.system", "exec", "Path.touch", "torch.load")
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda x: x,
    "a value": lambda x: {**state(), "fc.bias": x},
    "a key": lambda x: {x: 1},
    "deep": lambda x: {"state_dict": {"a": [({"b": x},)]}},
}


def _archive(pickled: bytes, more: dict[str, bytes] | None = None, how: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as opened:
        for name, content in {"archive/data.pkl": pickled, "archive/version": b"3\n", **(more or {})}.items():
            opened.writestr(name, content)
    return out.getvalue()


def _laughs(levels: int, key: bool) -> bytes:
    """Each level holds the one before it twice: 2^levels elements to whoever walks or hashes it."""
    out = b"\x80\x02((tq\x00"
    for i in range(levels):
        out += b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1])
    return out + b"t}" + (b"h" + bytes([levels]) + b"K\x01s" if key else b"K\x01h" + bytes([levels]) + b"s") + b"."


BOMBS: dict[str, bytes] = {
    "2^60 tuples as a value": _archive(_laughs(60, key=False)),
    "a million lists in lists": _archive(b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."),
    "a million tuples in tuples as a key": _archive(b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s."),
    "bytearrays of 2^40": _archive(
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R."
    ),
    "copies of bytearrays": _archive(
        b"\x80\x02]cbuiltins\nbytearray\nq\x01\x8a\x05"
        + (2**30).to_bytes(5, "little")
        + b"\x85Rq\x02a"
        + b"h\x01h\x02\x85Ra" * 500
        + b"."
    ),
    "a tensor of 2^40": _archive(b"\x80\x02ctorch\nFloatTensor\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R."),
    "memo out of range": _archive(b"\x80\x02h\x7f."),
    "no stop": _archive(b"\x80\x02}"),
    "a zip bomb": _archive(b"\x80\x02}.", {"archive/data/0": b"\0" * 2**28}, zipfile.ZIP_DEFLATED),
    "path tricks": _archive(
        pickle.dumps({}, 2), {"../../escaped": b"x", "/escaped": b"x", "archive/../../escaped": b"x"}
    ),
    "an archive in an archive": _archive(ZIP, {"archive/data/0": ZIP}),
    "TorchScript": b"",
    "an old tar": b"",
}


def _script() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        opened.writestr("m/constants.pkl", b"\x80\x02).")
        opened.writestr("m/code/__torch__.py", "import os\nos.system('touch ran')\n")
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
            "../../escaped": b"x",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return out.getvalue()


BOMBS |= {"TorchScript": _script(), "an old tar": _tar()}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(bomb: str, opener: Callable[[bytes], int]) -> None:
    verdict = tallied("checkpoint, bombs", lambda: "refused" if opener(BOMBS[bomb]) else "accepted")
    assert verdict == "refused" or bomb == "path tricks"


@pytest.mark.parametrize("bomb", ["a zip bomb", "path tricks", "TorchScript", "a million tuples in tuples as a key"])
def test_the_command_line_refuses_a_bomb(bomb: str, images: Path) -> None:
    given_to_defend("checkpoint, bombs", BOMBS[bomb], images)


def test_code_is_refused_and_never_run(images: Path, opener: Callable[[bytes], int]) -> None:
    for how in HOWS:
        for place in PLACES.values():
            value = place(Code(how))
            for content in (zipped(value), legacy(value), pickle.dumps(value, 0), pickle.dumps(value, 5)):
                verdict = tallied("checkpoint, code", lambda c=content: "refused" if opener(c) else "accepted")
                assert verdict == "refused"
    for content in (zipped({"a": Code("os.system")}), legacy({"a": Code("exec")}), pickle.dumps({"a": Code("exec")})):
        said = given_to_defend("checkpoint, code", content, images)
        assert "could run code" in said or "no weights file" in said
    assert not list(Path.cwd().glob("ran"))


def test_the_sentinel_would_show_code_that_runs() -> None:
    with fenced() as folder:
        pickle.loads(pickle.dumps(Code("os.system")))
        assert (folder / "ran").exists()


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("what", VALUES)
def test_what_no_model_has_is_refused(what: str, opener: Callable[[bytes], int], images: Path) -> None:
    value = VALUES[what]()
    for content in (zipped(value), legacy(value)):
        verdict = tallied("checkpoint, odd values", lambda c=content: "refused" if opener(c) else "accepted")
    if verdict == "accepted":
        given_to_defend("checkpoint, odd values", content, images)


@tries(100)
@given(content=mutated(ZIP) | mutated(OLD))
@example(content=b"PK")
@example(content=b"\x80")
@example(content=ZIP + b"\0" * 70_000)
@example(content=b"PK\x05\x06" + b"\0" * 18)
def test_a_damaged_torch_file_leaves_its_reader_with_a_verdict(content: bytes, opener: Callable[[bytes], int]) -> None:
    tallied("checkpoint, damaged torch files", lambda: "refused" if opener(content) else "accepted")


OPCODES = [op.code.encode("latin1") for op in pickletools.opcodes]


@tries(150)
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
    opener: Callable[[bytes], int], ops: list[bytes]
) -> None:
    pickled = b"\x80\x02" + b"".join(ops) + b"."
    assert (
        tallied("checkpoint, pickle programs", lambda: "refused" if opener(_archive(pickled)) else "accepted")
        == "refused"
    )


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(images: Path, opener: Callable[[bytes], int]) -> None:
    pickled = zipfile.ZipFile(io.BytesIO(zipped({"fc.bias": torch.zeros(4)})))
    (name,) = [n for n in pickled.namelist() if n.endswith("data.pkl")]
    content = pickled.read(name)
    assert b"K\x04\x85" in content
    for size in (b"M\xff\xff\x85", b"J\xff\xff\xff\x7f\x85", b"J\xff\xff\xff\xff\x85"):
        hostile = _archive(
            content.replace(b"K\x04\x85", size), {"archive/data/0": b"\0" * 16, "archive/byteorder": b"little"}
        )
        assert (
            tallied("checkpoint, damaged torch files", lambda c=hostile: "refused" if opener(c) else "accepted")
            == "refused"
        )


def test_what_is_no_file_is_no_checkpoint(images: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "empty").touch()
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2**42)
    (tmp_path / "outside.safetensors").symlink_to("/etc/passwd")
    for path in [*tmp_path.iterdir(), tmp_path, Path("/dev/zero"), tmp_path / "absent", tmp_path / ("x" * 4000)]:
        given_to_defend("checkpoint, special files", path, images)


def test_bombs_leave_a_real_process_within_its_limits(images: Path, tmp_path: Path) -> None:
    for bomb in (_archive(_laughs(60, key=True)), BOMBS["copies of bytearrays"]):  # the hash of the first takes years
        (tmp_path / "w.pt").write_bytes(bomb)
        verdict, _, _ = process(
            "checkpoint, real processes",
            "defend",
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
            cwd=tmp_path,
        )
        assert verdict == "refused"


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
    ],
)
def test_an_architecture_that_is_none_is_one_line(arch: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(SAFE)
    words = ["--model", tmp_path / "w", "--arch", arch, "--trusted", images, "--out", tmp_path / "out"]
    assert command("command line", "defend", *words)[0] == "refused"
