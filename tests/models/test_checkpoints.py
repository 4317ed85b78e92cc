"""Checkpoints: what is understood, and what is refused in one line with the model unchanged."""

import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from other_files import CODE, evil
from safetensors.torch import save_file
from torch import Tensor, nn

from trials.models import resnet18
from trials.spec import SpecError
from trials.weights import _unpack
from trials.weights.files import load_weights, save_weights

State = dict[str, Tensor]
HOSTILE = (
    "test_runs_no_code_from_a_malicious_file",
    "test_says_that_the_process_died_that_opened_a_file",
)
LOADS = """
import resource, sys
from trials.models import resnet18
from trials.weights.files import load_weights
room = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 2**29
resource.setrlimit(resource.RLIMIT_AS, (room, room))
load_weights(resnet18.build(10, 16, width=2), sys.argv[1])
print("loaded")
"""


def fresh(seed: int = 0, classes: int = 10, width: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return resnet18.build(classes, 16, width=width)


def stranger() -> State:
    """Trained elsewhere: other weights, running statistics that moved."""
    model = fresh(seed=1)
    model(torch.rand(8, 3, 16, 16))
    return model.state_dict()


def assert_loads(path: Path, state: State) -> None:
    model = fresh()
    load_weights(model, path)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def refused(path: Path, says: str, model: nn.Module | None = None) -> None:
    model = model or fresh()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(SpecError, match=says) as caught:
        load_weights(model, path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def old_names(state: State) -> State:
    pairs = (("fc.", "linear."), ("downsample.", "shortcut."))
    for new, old in pairs:
        state = {k.replace(new, old): v for k, v in state.items()}
    return state


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model, twice": lambda s: {"model": {"state_dict": s}},
    "data parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled, data parallel": lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
    "old names": old_names,
    "without normalisation": lambda s: {
        k: v for k, v in s.items() if not k.startswith("normalize")
    },
    "half without counters": lambda s: {
        k: v.bfloat16() for k, v in s.items() if not k.endswith("tracked")
    },
    "parameters": lambda s: {
        k: nn.Parameter(v, requires_grad=v.is_floating_point()) for k, v in s.items()
    },
}


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch files are opened by copies of one process that has loaded torch; hostile ones by
    processes of their own.
    """
    if request.node.originalname not in HOSTILE:
        monkeypatch.setattr(_unpack, "_reader", request.getfixturevalue("reader"))


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("legacy", [False, True])
def test_understands_a_torch_state_dict(tmp_path: Path, wrapping: str, legacy: bool) -> None:
    state = stranger()
    if "half" in wrapping:
        state = {
            k: v if k.endswith("tracked") else v.bfloat16().to(v.dtype) for k, v in state.items()
        }
        state = {k: v * 0 if k.endswith("tracked") else v for k, v in state.items()}
        state |= {k: v for k, v in fresh().state_dict().items() if k.startswith("normalize")}
        saved = {
            k: v.bfloat16()
            for k, v in state.items()
            if not k.endswith("tracked") and "normalize" not in k
        }
    else:
        saved = WRAPPINGS[wrapping](state)
    torch.save(saved, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    assert_loads(tmp_path / "w.pt", state)


@pytest.mark.parametrize(
    "wrapping", ["plain", "data parallel", "old names", "without normalisation"]
)
@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_understands_safetensors_whatever_its_name(
    tmp_path: Path, wrapping: str, name: str
) -> None:
    state = stranger()
    save_file(WRAPPINGS[wrapping](state), tmp_path / name)
    assert_loads(tmp_path / name, state)


def test_saving_leaves_no_other_file_and_takes_channels_last(tmp_path: Path) -> None:
    model = fresh().to(memory_format=torch.channels_last)
    save_weights(model, tmp_path / "new" / "w.safetensors")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["w.safetensors"]
    assert_loads(tmp_path / "new" / "w.safetensors", model.state_dict())


@pytest.mark.parametrize("form", CODE)
def test_runs_no_code_from_a_malicious_file(tmp_path: Path, form: str) -> None:
    (name, says), trace = CODE[form], tmp_path / "pwned"
    evil(tmp_path / name, form, trace)
    refused(tmp_path / name, says)
    assert not trace.exists()
    torch.serialization.clear_safe_globals()
    if form == "torch":  # the trap works: the careless way does create the file
        torch.load(tmp_path / name, weights_only=False)
        assert trace.exists()


def test_refuses_a_whole_pickled_model(tmp_path: Path) -> None:
    torch.save(fresh(), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "could run code: refused.*safetensors")


def without(*names: str) -> Callable[[State], State]:
    return lambda s: {k: v for k, v in s.items() if k not in names}


CHANGES: dict[str, tuple[Callable[[State], State], str]] = {
    "missing": (without("layer1.0.conv1.weight"), "missing layer1.0.conv1.weight"),
    "unexpected": (lambda s: {**s, "extra.weight": torch.zeros(2)}, "unexpected extra.weight"),
    "twice": (lambda s: {**s, "linear.bias": s["fc.bias"].clone()}, "fc.bias twice"),
    "integers": (
        lambda s: {**s, "fc.bias": torch.zeros(10, dtype=torch.int64)},
        "fc.bias has the type torch.int64",
    ),
    "nan": (lambda s: {**s, "fc.bias": s["fc.bias"] * float("nan")}, "fc.bias holds values"),
    "variance": (
        lambda s: {**s, "bn1.running_var": -s["bn1.running_var"]},
        "bn1.running_var holds values",
    ),
    "overflow": (lambda s: {**s, "fc.bias": s["fc.bias"].double() + 1e300}, "fc.bias holds values"),
    "norm": (lambda s: {**s, "normalize.mean": torch.full((3,), 0.5)}, "the model's norm"),
    "empty": (lambda s: {}, "state dict|missing"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_refuses_weights_that_do_not_fit(tmp_path: Path, change: str, form: str) -> None:
    edit, says = CHANGES[change]
    state = edit(stranger())
    if form == "torch":
        torch.save(state, tmp_path / "w")
    else:
        save_file(state, tmp_path / "w")
    refused(tmp_path / "w", says)


def test_hints_at_the_architecture_that_would_fit(tmp_path: Path) -> None:
    import torchvision  # noqa: PLC0415 - slow to import

    file = tmp_path / "w.safetensors"
    save_weights(fresh(width=4), file)
    refused(file, "--arch resnet18:width=4")
    save_weights(fresh(classes=7), file)
    refused(file, "a model of 7 classes")
    save_weights(torchvision.models.resnet18(), file)
    refused(file, "--arch torchvision_resnet18")
    save_weights(nn.Linear(2, 2), file)
    refused(file, "none of the known architectures: .*resnet18")


@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors"])
@pytest.mark.parametrize("left", [0.0, 0.1, 0.9, 0.999])
def test_refuses_a_truncated_file(tmp_path: Path, form: str, left: float) -> None:
    file = tmp_path / "w"
    if form == "safetensors":
        save_file(stranger(), file)
    else:
        torch.save(stranger(), file, _use_new_zipfile_serialization=form == "torch")
    file.write_bytes(file.read_bytes()[: int(left * file.stat().st_size)])
    refused(file, "damaged|no whole safetensors")


def test_refuses_what_is_no_weights_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "cannot read the weights")
    refused(tmp_path, "cannot read the weights")
    (tmp_path / "text").write_text("hello, these are no weights")
    refused(tmp_path / "text", "no weights file")
    torch.save([1, 2, 3], tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "no state dict")
    torch.save({"fc.bias": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    refused(tmp_path / "sparse.pt", "no state dict|no weights file")


def test_refuses_a_header_that_promises_too_much_before_reading_on(tmp_path: Path) -> None:
    head = {"conv1.weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}
    text = json.dumps(head).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 64)
    refused(tmp_path / "w.safetensors", "no whole safetensors")


def test_refuses_an_archive_that_unpacks_to_far_more_than_the_model(tmp_path: Path) -> None:
    file = tmp_path / "bomb.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (80 * 2**20))
    refused(file, "far more than this model")


def test_refuses_many_views_of_few_numbers(tmp_path: Path) -> None:
    torch.save({str(i): torch.zeros(1).expand(2**20) for i in range(120)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "takes more memory or time")


def test_says_that_the_process_died_that_opened_a_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        # its hash goes too deep
        archive.writestr("archive/data.pkl", b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s.")
        archive.writestr("archive/version", b"3\n")
    refused(tmp_path / "w.pt", "made the process that opened it fail")


def test_reads_a_file_where_less_memory_is_allowed_than_a_reader_may_have(tmp_path: Path) -> None:
    torch.save(stranger(), tmp_path / "w.pt")
    words = [sys.executable, "-c", LOADS, str(tmp_path / "w.pt")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "loaded\n", done.stderr
