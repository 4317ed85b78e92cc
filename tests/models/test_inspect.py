"""What is seen in a file of weights: where they lie, their shapes, the architecture that fits."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from sweep.commands.inspect import look
from trials.models import (
    cifar_resnet,
    clip_vit_b32,
    preact_resnet18,
    resnet18,
    small_cnn,
    torchvision_resnet18,
)
from trials.spec import SpecError
from trials.weights.files import save_weights
from trials.weights.inspection import Inspection, inspect
from trials.weights.known import fits, last_layer, torchvision_models

pytestmark = pytest.mark.usefixtures("quick_reader")


def seen(path: Path, arch: str = "") -> Inspection:
    found = look(path, arch).inspection
    assert found
    return found


OURS: dict[str, nn.Module] = {
    "cifar_resnet:depth=14,width=4": cifar_resnet.build(7, 8, depth=14, width=4),
    "resnet18": resnet18.build(7, 8),
    "preact_resnet18:width=4": preact_resnet18.build(7, 8, width=4),
    "resnet18:width=4": resnet18.build(7, 8, width=4),
    "small_cnn:width=8": small_cnn.build(7, 8, width=8),
    "torchvision_resnet18": torchvision_resnet18.build(7, 32),
}


@pytest.mark.parametrize("label", OURS)
@pytest.mark.parametrize("form", ["torch", "safetensors"])
def test_finds_the_architecture_and_its_settings(tmp_path: Path, label: str, form: str) -> None:
    model, file = OURS[label], tmp_path / "w"
    if form == "torch":
        torch.save({"net": nn.DataParallel(model).state_dict(), "acc": 0.9}, file)
    else:
        save_weights(model, file)
    found = seen(file)
    assert found.fits[0].label == label
    assert found.fits[0].complete
    assert found.classes == 7
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.tensors == len(model.state_dict())
    assert found.types.keys() == {"float32", "int64"}
    wanted = ("net", ("acc",), "module.") if form == "torch" else ("", (), "")
    assert (found.where, found.beside, found.prefix) == wanted


def test_a_normalisation_in_front_is_not_the_first_layer(tmp_path: Path) -> None:
    state = {f"1.{k}": v for k, v in small_cnn.build(3, 8, width=2).state_dict().items()}
    constants = {"0.mean": torch.ones(1, 3, 1, 1), "0.std": torch.ones(1, 3, 1, 1)}
    kept = {k: v for k, v in state.items() if "normalize" not in k}
    torch.save({**constants, **kept}, tmp_path / "w.pt")
    found = seen(tmp_path / "w.pt")
    assert found.first == ("1.layer1.0.weight", (2, 3, 3, 3))
    assert (found.fits[0].label, found.fits[0].complete) == ("small_cnn:width=2", True)
    assert found.prefix == "1."


def test_finds_a_clip(tmp_path: Path) -> None:
    model = clip_vit_b32.build(5, 32, architecture="tiny")
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors")
    found = seen(tmp_path / "w.safetensors", "clip_vit_b32:architecture=tiny")
    assert found.fits[0].complete
    assert (found.classes, found.last) == (5, ("head.weight", (5, 64)))
    assert "clip_vit_b32" in {fit.label for fit in seen(tmp_path / "w.safetensors").fits}


def test_compares_with_the_one_architecture_that_is_named(tmp_path: Path) -> None:
    save_weights(resnet18.build(7, 8, width=4), tmp_path / "w.safetensors")
    found = seen(tmp_path / "w.safetensors", "resnet18:width=8")
    (only,) = found.fits
    assert only.label == "resnet18:width=8"
    assert not only.complete
    assert ("conv1.weight", (4, 3, 3, 3), (8, 3, 3, 3)) in only.other_shapes
    with pytest.raises(SpecError, match="unknown"):
        look(tmp_path / "w.safetensors", "resnet19")


def test_says_by_which_names_it_does_not_fit(tmp_path: Path) -> None:
    state = resnet18.build(7, 8, width=4).state_dict()
    del state["bn1.weight"]
    torch.save({**state, "adapter.weight": torch.ones(2, 2)}, tmp_path / "w.pt")
    best = seen(tmp_path / "w.pt").fits[0]
    assert (best.label, best.complete) == ("resnet18:width=4", False)
    assert (best.missing, best.unexpected) == (("bn1.weight",), ("adapter.weight",))
    assert best.alike == best.total - 2


@pytest.mark.parametrize(
    ("name", "number", "label"),
    [
        ("resnet20-12fca82f.th", 269_722, "cifar_resnet"),
        ("resnet32-d509ac18.th", 464_154, "cifar_resnet:depth=32"),
        ("resnet44-014dd654.th", 658_586, "cifar_resnet:depth=44"),
        ("resnet56-4bfd9763.th", 853_018, "cifar_resnet:depth=56"),
    ],
)
def test_a_strangers_resnet_for_cifar10(
    public_models: Path, name: str, number: int, label: str
) -> None:
    found = seen(public_models / name)
    assert (found.where, found.beside, found.prefix) == ("state_dict", ("best_prec1",), "module.")
    assert (found.parameters, found.classes) == (number, 10)
    assert found.first == ("module.conv1.weight", (16, 3, 3, 3))
    assert found.last == ("module.linear.weight", (10, 64))
    assert (found.fits[0].label, found.fits[0].complete) == (label, True)


def test_a_strangers_efficientnet(public_models: Path) -> None:
    found = seen(public_models / "efficientnet-lite0-57934424.pth")
    assert (found.where, found.prefix, found.classes) == ("", "", 1000)
    assert found.parameters == 4_652_008
    assert found.first == ("_conv_stem.weight", (32, 3, 3, 3))
    assert found.last == ("_fc.weight", (1000, 1280))
    assert not any(fit.complete for fit in found.fits)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("mobilenet_v3_small", "classifier.3.weight"),
        ("vgg11_bn", "classifier.6.weight"),
        ("densenet121", "classifier.weight"),
        ("vit_b_32", "heads.head.weight"),
        ("swin_t", "head.weight"),
        ("convnext_tiny", "classifier.2.weight"),
        ("efficientnet_b0", "classifier.1.weight"),
        ("squeezenet1_1", "classifier.1.weight"),
        ("shufflenet_v2_x0_5", "fc.weight"),
        ("resnet50", "fc.weight"),
    ],
)
def test_finds_torchvisions_networks_by_their_shapes(name: str, last: str) -> None:
    with torch.device("meta"):
        state = torchvision.models.get_model(name, weights=None, num_classes=6).state_dict()
    shapes = {f"module.{k}": tuple(v.shape) for k, v in sorted(state.items())}
    found = fits(shapes, torchvision_models(shapes, 6))
    assert found[0].label == f"torchvision:{name}"
    assert found[0].complete
    assert len(found) < 40, "only those are built that it could be"
    assert last_layer(shapes) == f"module.{last}"


def test_only_builds_what_may_fit(tmp_path: Path) -> None:
    built = list[str]()

    def candidate(label: str, width: int) -> Any:
        def build() -> nn.Module:
            built.append(label)
            return small_cnn.build(3, 8, width=width)

        return label, build

    torch.save(small_cnn.build(3, 8, width=2).state_dict(), tmp_path / "w.pt")
    asked = [candidate("four", 4), candidate("two", 2), candidate("three", 3)]
    found = inspect(tmp_path / "w.pt", lambda _: asked)
    assert built == ["four", "two"]
    assert [fit.label for fit in found.fits] == ["two", "four"]


def test_a_random_generator_is_as_it_was(tmp_path: Path) -> None:
    torch.save(small_cnn.build(3, 8, width=2).state_dict(), tmp_path / "w.pt")
    before = torch.get_rng_state()
    seen(tmp_path / "w.pt")
    seen(tmp_path / "w.pt", "resnet18:width=2")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("content", [{"a": nn.ReLU()}, [1, 2], {}])
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(SpecError):
        look(tmp_path / "w.pt")


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (80 * 2**20))
    with pytest.raises(SpecError, match="80 MiB, far more than its own size"):
        look(tmp_path / "w.pt")
