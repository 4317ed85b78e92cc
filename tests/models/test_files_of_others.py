"""Files as other programs write them: wrapped, with prefixes, halved, with everyday objects beside
the weights; each is taken, and what was taken is said.
"""

import argparse
import datetime
import pathlib
import shlex
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from trials.models import resnet18, small_cnn
from trials.models._normalize import Normalize
from trials.spec import SpecError
from trials.weights import _unpack
from trials.weights.files import Taken, load_weights

State = dict[str, Tensor]


pytestmark = pytest.mark.usefixtures("quick_reader")


def fresh(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return resnet18.build(4, 8, width=2)


def bare(model: nn.Module) -> State:
    """As other programs save it: without normalisation."""
    return {k: v for k, v in model.state_dict().items() if not k.startswith("normalize.")}


def taken(file: Path, wanted: nn.Module) -> Taken:
    """Load the file; the model must then be the one wanted."""
    model = fresh()
    found = load_weights(model, file)
    state = wanted.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    return found


def refusal(file: Path) -> str:
    model = fresh()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(SpecError) as caught:
        load_weights(model, file)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("wrapper", _unpack.WRAPPERS)
def test_a_state_dict_is_found_in_its_wrapper(tmp_path: Path, wrapper: str) -> None:
    torch.save({"epoch": 3, wrapper: bare(fresh(1))}, tmp_path / "w.pt")
    found = taken(tmp_path / "w.pt", fresh(1))
    assert found.where == wrapper
    assert f" tensors of {wrapper}" in found.line()


def test_wrappers_may_be_nested_four_deep(tmp_path: Path) -> None:
    value: dict[str, Any] = bare(fresh(1))
    for wrapper in ("state_dict", "model", "ema", "params"):
        value = {wrapper: value}
    torch.save(value, tmp_path / "w.pt")
    assert taken(tmp_path / "w.pt", fresh(1)).where == "params.ema.model.state_dict"


def test_the_trained_weights_go_before_their_average(tmp_path: Path) -> None:
    both = {"model_ema": bare(fresh(2)), "state_dict": bare(fresh(1))}
    torch.save(both, tmp_path / "w.pt")
    assert taken(tmp_path / "w.pt", fresh(1)).where == "state_dict"


class Module(nn.Module):
    """A training program's module, as Lightning's, with the classifier in it under a name."""

    def __init__(self, name: str, model: nn.Module) -> None:
        super().__init__()
        self.add_module(name, model)
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(4))


class Bare(nn.Module):
    """The classifier without normalisation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, child in model.named_children():
            if name != "normalize":
                self.add_module(name, child)


def sequential(model: nn.Module) -> State:
    """Normalisation in front, its constants as many programs keep them."""
    state = nn.Sequential(Normalize("cifar10"), Bare(model)).state_dict()
    return {k: v[None, :, None, None] if k.startswith("0.") else v for k, v in state.items()}


compiled: Any = torch.compile
PREFIXED: dict[str, tuple[Callable[[nn.Module], State], str]] = {
    "DataParallel": (lambda m: nn.DataParallel(m).state_dict(), "module."),
    "torch.compile": (lambda m: compiled(m).state_dict(), "_orig_mod."),
    "averaged": (lambda m: AveragedModel(Bare(m)).state_dict(), "module."),
    "averaged twice": (
        lambda m: AveragedModel(nn.DataParallel(Bare(m))).state_dict(),
        "module.module.",
    ),
    "Lightning": (lambda m: Module("model", Bare(m)).state_dict(), "model."),
    "net": (lambda m: Module("net", Bare(m)).state_dict(), "net."),
    "any name": (lambda m: Module("my_backbone", Bare(m)).state_dict(), "my_backbone."),
    "compiled in Lightning": (
        lambda m: {f"model._orig_mod.{k}": v for k, v in bare(m).items()},
        "model._orig_mod.",
    ),
    "normalisation in front": (sequential, "1."),
    "that in parallel": (
        lambda m: {f"module.{k}": v for k, v in sequential(m).items()},
        "module.1.",
    ),
    "a part in parallel": (
        lambda m: {k.replace("layer1.", "layer1.module."): v for k, v in bare(m).items()},
        "",
    ),
}


@pytest.mark.parametrize("program", PREFIXED)
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_what_stands_before_the_names_is_taken_off(tmp_path: Path, program: str, form: str) -> None:
    make, prefix = PREFIXED[program]
    state = make(fresh(1))
    if form == "torch":
        torch.save({"state_dict": state}, tmp_path / "w.pt")
    else:
        save_file({k: v.clone() for k, v in state.items()}, tmp_path / "w.pt")
    found = taken(tmp_path / "w.pt", fresh(1))
    assert found.prefix == prefix
    assert set(found.names.values()) | set(found.left_out) == set(state)
    assert (f"names without {prefix!r}" in found.line()) == bool(prefix)


def test_a_criterions_weights_and_counters_are_left_out_and_named(tmp_path: Path) -> None:
    state = Module("model", Bare(fresh(1))).state_dict()
    torch.save({**state, "n_averaged": torch.tensor(3)}, tmp_path / "w.pt")
    found = taken(tmp_path / "w.pt", fresh(1))
    assert found.left_out == ("criterion.weight", "n_averaged")
    assert found.line().endswith("left out, as no part of the model: criterion.weight, n_averaged.")


def test_other_tensors_beside_the_model_refuse_it(tmp_path: Path) -> None:
    both = {**bare(fresh(1)), "adapter.weight": torch.ones(3)}
    torch.save(both, tmp_path / "w.pt")
    assert "unexpected adapter.weight" in refusal(tmp_path / "w.pt")
    torch.save({f"model.{k}": v for k, v in both.items()}, tmp_path / "w.pt")
    assert "unexpected model.adapter.weight" in refusal(tmp_path / "w.pt")
    inside = {f"model.{k}": v for k, v in bare(fresh(1)).items()}
    torch.save({**inside, "model.criterion.weight": torch.ones(3)}, tmp_path / "w.pt")
    assert "unexpected model.criterion.weight" in refusal(tmp_path / "w.pt")


def test_of_two_models_the_one_with_the_usual_name_is_taken(tmp_path: Path) -> None:
    state = {f"teacher.{k}": v for k, v in bare(fresh(2)).items()}
    torch.save({**state, **{f"model.{k}": v for k, v in bare(fresh(1)).items()}}, tmp_path / "w.pt")
    found = taken(tmp_path / "w.pt", fresh(1))
    assert found.prefix == "model."
    assert set(found.left_out) == set(state)


def test_two_models_of_which_neither_has_a_usual_name_are_refused(tmp_path: Path) -> None:
    state = {f"student.{k}": v for k, v in bare(fresh(2)).items()}
    both = {**state, **{f"teacher.{k}": v for k, v in bare(fresh(1)).items()}}
    torch.save(both, tmp_path / "w.pt")
    assert "more than once, under student. and teacher." in refusal(tmp_path / "w.pt")


def test_a_normalisation_in_front_that_is_another_is_refused(tmp_path: Path) -> None:
    state = sequential(fresh(1))
    torch.save({**state, "0.mean": torch.full((1, 3, 1, 1), 0.5)}, tmp_path / "w.pt")
    said = refusal(tmp_path / "w.pt")
    assert "normalize.mean = (0.5, 0.5, 0.5)" in said
    assert "Set the model's norm" in said


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_halved_normalisation_is_the_same_one(tmp_path: Path, kind: torch.dtype) -> None:
    torch.save({k: v.to(kind) for k, v in sequential(fresh(1)).items()}, tmp_path / "w.pt")
    model = fresh()
    load_weights(model, tmp_path / "w.pt")
    own = fresh().state_dict()["normalize.mean"]
    assert torch.equal(model.state_dict()["normalize.mean"], own)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_other_floats_become_float32(tmp_path: Path, kind: str, form: str) -> None:
    state = {k: v.to(getattr(torch, kind)) for k, v in bare(fresh(1)).items()}  # counters too
    (torch.save if form == "torch" else save_file)(state, tmp_path / "w")
    model = fresh()
    found = load_weights(model, tmp_path / "w")
    assert found.converted == (kind,)
    assert f"{kind} made float32" in found.line()
    for key, value in model.state_dict().items():
        if key in state:
            assert value.dtype == fresh().state_dict()[key].dtype
            assert torch.equal(value, state[key].to(value.dtype))


OBJECTS: dict[str, Any] = {
    "numpy scalars": {"acc": np.float64(0.9), "step": np.int64(3), "name": np.str_("x")},
    "numpy arrays": {"history": np.arange(6.0).reshape(2, 3), "flags": np.array([True, False])},
    "arrays of objects": np.array(["a", None, [1]], dtype=object),
    "structured arrays": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
    "numpy types": {
        "dtype": np.dtype("float32"),
        "kind": np.float32,
        "random": np.random.get_state(),
    },
    "arguments": argparse.Namespace(lr=0.1, out=pathlib.Path("out"), milestones=[1, 2]),
    "paths": [pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/x"), Path("x")],
    "collections": [OrderedDict(a=1), defaultdict(list, a=[1]), deque([1, 2], 5), frozenset({1})],
    "torch's": [torch.Size([1, 2]), torch.device("cuda:0"), torch.float16, torch.__version__],
    "times": [
        datetime.datetime.now(datetime.UTC),
        datetime.date(2024, 1, 1),
        datetime.timedelta(1),
    ],
    "numbers": {"curve": [0.1, 0.2], "best": {"epoch": 3, "acc": 1.0}, "z": (1 + 2j), 5: None},
}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("what", OBJECTS)
@pytest.mark.parametrize("legacy", [False, True])
def test_everyday_objects_beside_the_weights_refuse_no_file(
    tmp_path: Path, what: str, legacy: bool
) -> None:
    content = {"state_dict": bare(fresh(1)), "beside": OBJECTS[what]}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    assert taken(tmp_path / "w.pt", fresh(1)).where == "state_dict"
    flat = {**bare(fresh(1)), "beside": OBJECTS[what], "epoch": 3}
    torch.save(flat, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    taken(tmp_path / "w.pt", fresh(1))


def test_of_objects_beside_the_weights_nothing_is_built() -> None:
    stands_for = {name: kind for kind, name in _unpack._STAND_INS}
    assert "numpy.dtype" in stands_for
    assert {kind.__module__ for kind in stands_for.values()} == {_unpack.__name__}
    for kind in stands_for.values():
        made = kind("anything", 1)
        assert not getattr(made, "__dict__", None)
        if isinstance(made, _unpack._Beside):
            made.__setstate__({"a": 1})
            assert not made.__dict__


def test_a_backdoorbench_result_is_taken(tmp_path: Path) -> None:
    content = {
        "model_name": "preactresnet18",
        "num_classes": 4,
        "model": bare(fresh(1)),
        "img_size": (8, 8, 3),
        "clean_data": "cifar10",
        "bd_train": {
            "bd_data_container": {
                "save_folder_path": "record/x",
                "data_dict": {0: {"path": "0.png"}},
            },
            "original_index_array": np.arange(5),
            "poison_indicator": np.array([0, 1, 0, 0, 1]),
            "getitem_all": True,
        },
    }
    torch.save(content, tmp_path / "attack_result.pt")
    assert taken(tmp_path / "attack_result.pt", fresh(1)).where == "model"


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (partial(print, "x"), "functools.partial"),
        (resnet18.build, "trials.models.resnet18.build"),
    ],
)
def test_other_objects_are_refused_by_name_with_the_command_that_converts(
    tmp_path: Path, thing: Any, name: str
) -> None:
    torch.save({"state_dict": bare(fresh(1)), "x": thing}, tmp_path / "w.pt")
    said = refusal(tmp_path / "w.pt")
    assert f"holds {name}, which is more than weights and could run code: refused" in said
    assert "only if you trust where it is from: python -c" in said


@pytest.mark.parametrize("whole", [True, False])
def test_the_command_in_the_refusal_converts(tmp_path: Path, whole: bool) -> None:
    file = tmp_path / "it's a model.pt"
    torch.save(fresh(1) if whole else {"state_dict": bare(fresh(1)), "x": nn.ReLU()}, file)
    command = refusal(file).rpartition("where it is from: ")[2]
    words = shlex.split(command)
    assert words[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
    taken(tmp_path / "weights.pt", fresh(1))


def test_a_head_of_another_size_is_not_another_architecture(tmp_path: Path) -> None:
    torch.save(bare(resnet18.build(7, 8, width=2)), tmp_path / "w.pt")
    said = refusal(tmp_path / "w.pt")
    assert "but for its head it would" in said
    assert "a model of 7 classes, and 4 are asked for" in said
    torch.save(bare(small_cnn.build(4, 8, width=3)), tmp_path / "w.pt")
    said = refusal(tmp_path / "w.pt")
    assert "it is of another architecture: missing conv1.weight" in said
    assert "It looks like --arch small_cnn:width=3." in said


class Hooked(nn.Module):
    """A model whose normalisation is a hook, and no part of its state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize_input = nn.Module()
        self.normalize_input.register_buffer("mean", torch.full((3,), 0.5), persistent=False)
        self.normalize_input.register_buffer("std", torch.full((3,), 0.25), persistent=False)
        self.fc = nn.Linear(2, 2)


def test_a_normalisation_in_front_is_compared_with_a_hooks(tmp_path: Path) -> None:
    state = {"0.mean": torch.full((3, 1, 1), 0.5), "1.fc.weight": torch.eye(2)}
    torch.save({**state, "1.fc.bias": torch.zeros(2)}, tmp_path / "w.pt")
    model = Hooked()
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.fc.weight, torch.eye(2))
    torch.save({**state, "1.fc.bias": torch.zeros(2), "0.std": torch.ones(3)}, tmp_path / "w.pt")
    with pytest.raises(SpecError, match=r"normalize.std = \(1, 1, 1\)"):
        load_weights(Hooked(), tmp_path / "w.pt")
