"""A live module and live images, handed to ``defend`` and ``tune`` from Python."""

import copy
import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import live_objects
import numpy as np
import pytest
import torch
from live_objects import SPEC, Net, learned, trusted
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

from results.store import Store
from sweep import defend, tune
from sweep.commands import outputs
from sweep.commands.asked import sweep_of
from sweep.commands.given import as_files, sets_as_files
from sweep.commands.given_images import images_of
from sweep.commands.rerun import rerun
from sweep.spec import sweep_file
from trials import catalog
from trials.architecture import parsed
from trials.models._live_code import dumps, loads
from trials.spec import SpecError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return learned(Net())


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def seconds_of(out: Path) -> dict[str, float]:
    with Store.read(f"sqlite:///{out}/sweep.db") as store:
        return {r.trial.id: r.seconds for r in store.records()}


@pytest.mark.slow
def test_a_module_is_repaired_in_its_own_class_and_stays_as_it_was(
    net: nn.Module, tmp_path: Path
) -> None:
    before, flags = state_of(net), [p.requires_grad for p in net.parameters()]
    net.train()
    outcome = defend(net, trusted(), tmp_path / "out", spec=SPEC)
    assert outcome["trials"]["failed"] == 0 and outcome["understood"]["accuracy"] > 0.9
    after = state_of(net)
    assert all(torch.equal(before[name], after[name]) for name in before) and net.training
    found = outcome.model
    assert type(found) is Net and found is not net and found.training
    assert [p.requires_grad for p in found.parameters()] == flags and not all(flags)
    assert found.two.weight is found.one.weight
    file = load_file(tmp_path / "out" / "repaired.safetensors")
    assert file.keys() == before.keys()
    assert all(torch.equal(value, file[name]) for name, value in found.state_dict().items())
    assert any(not torch.equal(before[name], file[name]) for name in before)
    images = live_objects.digits("test")
    right = found.eval()(images.x.float() / 255).argmax(1) == images.y
    assert abs(right.double().mean() - outcome["this_model"]["cda"]) < 0.2
    # what a person sees, and the same as frames
    assert outcome.verdict == outcome["verdict"] and dict(outcome) == outcome
    shown = outcome._repr_html_()
    assert shown.index(outcome.verdict) < shown.index("<table") < shown.index("choice.json")
    assert set(outcome.winners["defense"]) == {"fst"} and len(outcome.best) == 1
    assert set(outcome.curves["id"]) <= set(outcome.frame()["id"])
    assert outcome.figure().data and outcome.figure("fronts").data
    # nothing is left to run, also for `tune`
    ran = seconds_of(tmp_path / "out")
    again = defend(copy.deepcopy(net).eval(), trusted(), tmp_path / "out", spec=SPEC)
    tuned = tune(net, trusted(), tmp_path / "out", spec=SPEC)
    assert again == outcome and seconds_of(tmp_path / "out") == ran
    assert tuned.winners.equals(outcome.winners) and not tuned.stopped
    assert len(list((tmp_path / "out" / "given").iterdir())) == 3
    # a store names no code
    with (
        Store.open(f"sqlite:///{tmp_path}/out/sweep.db", create=False) as store,
        pytest.raises(SpecError, match=r"call poisonsweep\.defend"),
    ):
        rerun(store, next(iter(ran)), str(tmp_path / "out" / "artifacts"))


SCRIPT = """
import sys
import torch
from torch import nn
import live_objects
from poisonsweep import tune

SCALE = 2.0


class Scaled(live_objects.Net):
    def forward(self, x):
        return super().forward(x) * SCALE


torch.manual_seed(0)
net = live_objects.learned(Scaled())
spec = {**live_objects.SPEC, "compute": {"device": "cpu", "workers": 2}}
found = tune(net, live_objects.trusted(), "out", spec=spec, use_ray=sys.argv[1] == "ray")
print(sorted(r.status for r in found.records), found.best[0].defense)
print(sum(r.seconds for r in found.records))
"""


def from_main(folder: Path, engine: str) -> list[str]:
    (folder / "script.py").write_text(SCRIPT)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "script.py", engine],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-2:]


@pytest.mark.slow
def test_a_class_of_a_script_goes_to_worker_processes_and_is_known_again(tmp_path: Path) -> None:
    first = from_main(tmp_path, "local")
    assert first[0] == "['done', 'done', 'done'] fst"
    assert from_main(tmp_path, "local") == first
    assert len(list((tmp_path / "out" / "given").iterdir())) == 3


@pytest.mark.ray
@pytest.mark.slow
def test_a_class_of_a_script_goes_to_rays_workers(tmp_path: Path) -> None:
    assert from_main(tmp_path, "ray")[0] == "['done', 'done', 'done'] fst"


NAMED = """
import hashlib
import sys
import torch
from torch import nn
from trials.models._live_code import dumps

class Own(nn.Module):
    KNOWN = {"a", "b", "c", "dd", "ee", "fff"}

    def __init__(self, width):
        super().__init__()
        self.width, self.seen = width, {"x", "y", "zz"}
        self.fc = nn.Linear(width, 3)

    def forward(self, x):
        if x.ndim in {2, 4} and "a" in {"a", "bb"}:
            return self.fc(x)
        return lambda: self.KNOWN

print(hashlib.sha256(dumps(Own(int(sys.argv[1])))).hexdigest())
"""


EACH = """
import runpy, sys
for file, width in zip(*[iter(sys.argv[1:])] * 2):
    sys.argv[1] = width
    runpy.run_path(file, run_name="__main__")
"""


def test_equal_code_has_equal_bytes_wherever_it_stands(tmp_path: Path) -> None:
    def digests(seed: int, *written: tuple[str, str, int]) -> list[str]:
        """Of a process, for a folder, what stands in a file of it, and a width each."""
        for name, text, _ in written:
            (tmp_path / name).mkdir()
            (tmp_path / name / "own.py").write_text(text)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)}
        words = [w for name, _, width in written for w in (f"{tmp_path}/{name}/own.py", str(width))]
        command = [sys.executable, "-c", EACH, *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done.stdout.split()

    other = NAMED.replace('"a" in', '"b" in')
    first, wider, changed = digests(1, ("a", NAMED, 4), ("c", NAMED, 5), ("d", other, 4))
    assert digests(2, ("b", "\n\n# moved\n" + NAMED, 4)) == [first]
    assert first not in (wider, changed)


def test_code_holds_no_weights_and_keeps_what_is_tied() -> None:
    given = Net()
    found = loads(dumps(given))
    assert type(found).__name__ == "Net" and type(found) is not Net  # by value: no file is needed
    assert isinstance(found, nn.Module)
    assert found.get_parameter("one.weight") is found.get_parameter("two.weight")
    assert [v.shape for v in found.state_dict().values()] == [
        v.shape for v in given.state_dict().values()
    ]
    assert not torch.equal(found.get_parameter("head.weight"), given.head.weight)
    assert len(dumps(given)) < 20_000
    found.load_state_dict(given.state_dict())
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(found.eval()(x), given.eval()(x))


class Answering(Net):
    """Returns what is no logits."""

    def forward(self, x: Tensor) -> Tensor:
        return {"scores": super().forward(x)}  # type: ignore[return-value]


def with_lock() -> nn.Module:
    import threading  # noqa: PLC0415

    network = Net()
    network.lock = threading.Lock()  # type: ignore[assignment]
    return network


def broken() -> nn.Module:
    network = Net()
    with torch.no_grad():
        network.head.bias[0] = float("nan")
    return network


class Random(Dataset[Any]):
    """Another image each time."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> Any:
        return torch.rand(3, 16, 16), i % 10


class Rows:
    """As Hugging Face's datasets are."""

    def __init__(self, columns: dict[str, list[Any]], names: list[str] | None = None) -> None:
        self._columns, self.column_names = columns, list(columns)
        self.features = {"label": type("ClassLabel", (), {"names": names})()}

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {name: values[i] for name, values in self._columns.items()}


X = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 10
FINE = TensorDataset(X, Y)
BAD: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "dict": (Answering(), FINE, {}, r"returns a dict without logits.*returns logits"),
    "no module": (torch.rand(3), FINE, {}, r"model is a Tensor; needed is an nn\.Module"),
    "lock": (with_lock(), FINE, {}, r"cannot be copied \(TypeError: cannot pickle"),
    "nan": (broken(), FINE, {}, "weights that are not finite"),
    "no weights": (nn.Flatten(), FINE, {}, "has no weights"),
    "one logit": (nn.Sequential(nn.Flatten(), nn.Linear(768, 1)), FINE, {}, r"gives \(2, 1\)"),
    "another size": (nn.Sequential(nn.Flatten(), nn.Linear(9, 10)), FINE, {}, "does not take"),
    "arch": (Net(), FINE, {"arch": "small_cnn"}, "arch is for a file"),
    "norm": (Net(), FINE, {"norm": "imagnet"}, "norm must be one of cifar10"),
    "mean alone": (Net(), FINE, {"mean": 0.5}, "mean= and std= together"),
    "std of zero": (Net(), FINE, {"mean": 0.5, "std": 0.0}, "above 0"),
    "two means": (Net(), FINE, {"mean": [0.1, 0.2], "std": 1.0}, "must be three numbers"),
    "norm of a file": ("m.safetensors", FINE, {"norm": "warm"}, "norm must be one of"),
    "labels": (Net(classes=5), FINE, {}, r"label 5; needed is one from 0 to 4"),
    "negative": (Net(), (X, Y - 1), {}, "label -1"),
    "one-hot": (Net(), (X, torch.eye(10)[Y]), {}, "label of image 0 .* number of a class"),
    "uneven": (Net(), (X, Y[:7]), {}, "40 images with 7 labels"),
    "empty": (Net(), TensorDataset(X[:0], Y[:0]), {}, "holds no image"),
    "normalised": (Net(), TensorDataset(X * 4 - 2, Y), {}, r"from -[12].*Drop Normalize"),
    "up to 255": (Net(), (X * 255, Y), {}, "needed is"),
    "nan pixel": (Net(), (X / X.new_zeros(()), Y), {}, "needed is"),
    "int64": (Net(), ((X * 255).long(), Y), {}, "is of int64; needed is uint8"),
    "channels": (Net(), (X[:, :2], Y), {}, "1 or 3 channels"),
    "sizes": (Net(), (X[:, :, :9], Y), {}, r"sides of 16 x 9 pixels\. Give size="),
    "random": (Net(), Random(), {}, "another each time. Drop what is random"),
    "images alone": (Net(), TensorDataset(X), {}, r"is a tuple; needed is \(image, label\)"),
    "text": (Net(), [("a", 1)] * 9, {}, "image 0 of trusted is a str"),
    "neither": (Net(), 3, {}, "trusted is a int; needed is a folder"),
    "columns": (Net(), Rows({"img": [0], "fine": [1]}), {}, "columns img, fine"),
    "few": (Net(), TensorDataset(X[:11], Y[:11]), {}, "each class needs at least 5"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused_in_one_line_and_leaves_nothing(
    case: str, tmp_path: Path
) -> None:
    model, images, how, says = BAD[case]
    with pytest.raises(SpecError, match=says) as caught:
        defend(model, images, tmp_path / "runs" / "out", spec=SPEC, **how)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", ["uneven", "empty", "up to 255", "text", "neither", "columns"])
def test_of_two_sets_the_one_is_named_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    strange = BAD[case][1]
    with pytest.raises(SpecError, match="images") as caught:
        sets_as_files(strange, FINE, tmp_path)
    assert "trusted" not in str(caught.value)
    with pytest.raises(SpecError, match="trusted"):
        sets_as_files(FINE, strange, tmp_path)
    assert not list(tmp_path.iterdir())


def pictures(n: int = 20) -> list[Image.Image]:
    return [Image.fromarray((X[i].permute(1, 2, 0) * 255).byte().numpy()) for i in range(n)]


LABELS = Y[:20].tolist()
WAYS: dict[str, Any] = {
    "tensors": (X[:20], Y[:20]),
    "bytes": ((X[:20] * 255).round().byte(), Y[:20]),
    "numpy, channels last": (
        (X[:20] * 255).round().byte().permute(0, 2, 3, 1).numpy(),
        Y[:20].numpy(),
    ),
    "a data set": TensorDataset(X[:20], Y[:20]),
    "part of one": Subset(FINE, range(20)),
    "a list of pairs": list(zip(X[:20], LABELS, strict=True)),
    "columns": Rows({"image": list(X[:20]), "label": LABELS}),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_images_are_the_same_file_in_every_form(way: str, tmp_path: Path) -> None:
    wanted = images_of(WAYS["tensors"]).write(tmp_path, 10)
    assert images_of(WAYS[way]).write(tmp_path, 10) == wanted
    read = catalog.find("datasets", "image_table")("train", root=str(wanted), size=16)
    assert torch.equal(read.x, (X[:20] * 255).round().byte()) and read.y.tolist() == LABELS


def test_pictures_keep_their_pixels_and_their_classes_names(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(10, 0, -1)]
    found = images_of(Rows({"img": pictures(), "label": LABELS}, names))
    file = found.write(tmp_path, 10)
    read = catalog.find("datasets", "image_table")("train", root=str(file), size=16)
    assert list(read.names) == names and read.y.tolist() == LABELS
    assert np.array_equal(read.x[3].permute(1, 2, 0).numpy(), np.asarray(pictures()[3]))
    assert images_of([(p.convert("CMYK"), 1) for p in pictures()]).grey is False
    assert images_of([(p.convert("L"), 1) for p in pictures()]).grey


def test_a_data_set_of_hugging_faces_library_is_read_with_its_names(tmp_path: Path) -> None:
    datasets = importlib.import_module("datasets")  # seconds, for this test alone

    names = [f"class {i}" for i in range(10, 0, -1)]
    features = datasets.Features(
        {"label": datasets.ClassLabel(names=names), "img": datasets.Image()}
    )
    rows = datasets.Dataset.from_dict({"img": pictures(), "label": LABELS}, features=features)
    wanted = images_of(Rows({"img": pictures(), "label": LABELS}, names)).write(tmp_path, 10)
    assert images_of(rows).write(tmp_path, 10) == wanted
    assert images_of(rows.with_format("torch")).write(tmp_path, 10) == wanted
    read = catalog.find("datasets", "image_table")("train", root=str(wanted), size=16)
    assert list(read.names) == names and read.y.tolist() == LABELS


def live(folder: Path, network: nn.Module, images: Any, **how: Any) -> nn.Module:
    """What a worker builds of it, with its weights."""
    with as_files(network, images, folder, "", **how) as given:
        assert isinstance(given.arch, dict)
        params = {k: v for k, v in given.arch.items() if k != "name"}
        found: nn.Module = catalog.find("models", "live")(10, given.size, **params)
        found.load_state_dict(load_file(given.model))
    return found.eval()


def test_a_normalisation_comes_before_the_module(tmp_path: Path) -> None:
    network = Net().eval()
    x = torch.rand(4, 3, 16, 16)
    for how, wanted in (
        ({}, x),
        ({"norm": "half"}, x * 2 - 1),
        (
            {"mean": 0.5, "std": [0.1, 0.2, 0.5]},
            (x - 0.5) / torch.tensor([0.1, 0.2, 0.5])[:, None, None],
        ),
    ):
        built = live(tmp_path, network, FINE, **how)
        assert torch.allclose(built(x), network(wanted), atol=1e-5)


def test_a_module_of_one_channel_sees_grey_images(tmp_path: Path) -> None:
    network = Net(channels=1).eval()
    images = trusted(60, channels=1)
    built = live(tmp_path, network, images, mean=0.1, std=0.3)
    x = torch.rand(4, 1, 16, 16)
    assert torch.allclose(built(x.expand(-1, 3, -1, -1)), network((x - 0.1) / 0.3), atol=1e-5)
    with pytest.raises(SpecError, match="does not take images of shape"):
        live(tmp_path, network, FINE)


def test_a_sequential_network_normalises_first(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 10))
    x = torch.rand(4, 3, 16, 16)
    built = live(tmp_path, network, FINE, norm="half")
    assert torch.allclose(built(x), network(x * 2 - 1), atol=1e-5)
    assert built.state_dict().keys() == network.state_dict().keys()


def test_wrappers_come_off_and_half_precision_is_made_whole(tmp_path: Path) -> None:
    network = Net().eval()
    x = torch.rand(4, 3, 16, 16)
    built = live(tmp_path, nn.DataParallel(copy.deepcopy(network).half()), FINE)
    assert torch.allclose(built(x), network(x), atol=0.05)


def test_code_is_opened_only_where_it_is_what_was_written(tmp_path: Path) -> None:
    with as_files(Net(), FINE, tmp_path, "") as given:
        assert isinstance(given.arch, dict)
        params = {k: v for k, v in given.arch.items() if k != "name"}
    Path(params["code"]).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(SpecError, match=r"not the file that poisonsweep\.defend wrote"):
        catalog.find("models", "live")(10, 16, **params)


def test_what_a_call_on_other_images_wrote_moves_away_with_its_results(tmp_path: Path) -> None:
    out, made = tmp_path / "out", list[Path]()
    for images in (FINE, TensorDataset(X.flip(0), Y)):
        with as_files(Net(), images, out, "") as given:
            sweep = sweep_of(given.model, given.arch, given.trusted, SPEC, size=16)
        moved_to = outputs.settle(out, sweep, outputs.run_of(sweep), None)
        made.append(given.trusted)
    kept = {f.name for f in (out / "given").iterdir()}
    assert moved_to == out / "previous-1" and made[1].name in kept and len(kept) == 3
    assert made[0].name not in kept and (moved_to / "given" / made[0].name).is_file()
    # a call on files leaves nothing there
    outputs.settle(out, replace(sweep, victims=()), "another", None)
    assert not (out / "given").exists() and made[1].name in {f.name for f in out.rglob("*.parquet")}


def test_no_file_and_no_command_line_names_a_live_module(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"call poisonsweep\.defend\(module"):
        parsed(f"live:code={tmp_path}")
    toml = (
        '[victim]\ndataset = "digits"\nmodel = { name = "live", code = "x" }\ntraining = "fast"\n'
        '[[defenses]]\nname = "none"\nprofile = "small"\n'
    )
    (tmp_path / "x").write_bytes(b"code")
    (tmp_path / "sweep.toml").write_text(toml)
    with pytest.raises(SpecError, match=r"call poisonsweep\.defend\(module"):
        sweep_file.read(tmp_path / "sweep.toml")
