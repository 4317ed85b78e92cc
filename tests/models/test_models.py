"""The models: size, latents, normalisation inside, names that defenses look for."""

import importlib.util
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trials import catalog
from trials.classifier import Classifier, with_features, with_latents
from trials.models import resnet18, torchvision_resnet18
from trials.models._normalize import Normalize
from trials.models._shortcut import shortcut
from trials.spec import SpecError
from trials.weights.files import load_weights, save_weights

SMALL: dict[str, dict[str, Any]] = {
    "resnet18": {"width": 4},
    "clip_vit_b32": {"architecture": "tiny"},
    "torchvision": {"arch": "squeezenet1_1"},
    "timm": {"arch": "test_efficientnet"},
    "own": {"callable": "own_networks:Tiny"},
}
MADE_OF_FILES = ("hugging_face", "live")  # tests/models/test_hugging_face.py, test_live.py
NAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name == "timm" and not importlib.util.find_spec("timm"), reason="timm is not installed"
        ),
    )
    for name in catalog.names("models")
    if name not in MADE_OF_FILES
]


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    built: nn.Module = catalog.find("models", request.param)(7, 32, **SMALL.get(request.param, {}))
    return built.eval()


def test_gives_one_logit_a_class(model: nn.Module) -> None:
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_normalises_first_and_does_not_train_the_constants(model: nn.Module) -> None:
    assert sum(isinstance(layer, Normalize) for layer in model.modules()) == 1
    assert not any(name.startswith("normalize") for name, _ in model.named_parameters())


STAGES = {"resnet18": 4, "torchvision_resnet18": 4, "small_cnn": 2, "clip_vit_b32": 2}


@pytest.mark.parametrize("name", sorted(STAGES))
def test_has_the_stages_that_defenses_look_for(name: str) -> None:
    built = catalog.find("models", name)(7, 32, **SMALL.get(name, {}))
    found = list(Classifier(built).stages().values())
    assert len(found) == STAGES[name]
    maps, _ = with_features(built.eval(), found, torch.rand(2, 3, 32, 32))
    assert all(m.shape[0] == 2 and m.ndim == 4 for m in maps)
    assert [m.shape[-1] for m in maps] == sorted((m.shape[-1] for m in maps), reverse=True)


def test_leaves_its_input_alone(model: nn.Module) -> None:
    x = torch.rand(2, 3, 32, 32)
    before = x.clone()
    model(x)
    assert torch.equal(x, before)


def test_weights_survive_a_round_trip(model: nn.Module, tmp_path: object) -> None:
    path = f"{tmp_path}/weights.safetensors"
    save_weights(model, path)
    x, before = torch.rand(2, 3, 32, 32), {k: v.clone() for k, v in model.state_dict().items()}
    expected = model(x)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    load_weights(model, path)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(model(x), expected)


def test_resnet18_has_the_papers_number_of_parameters() -> None:
    assert sum(p.numel() for p in resnet18.build(10, 32).parameters()) == 11_173_962


@pytest.mark.parametrize("width", [2, 5])
def test_latents_are_eight_widths_long(width: int) -> None:
    latents, _ = with_latents(resnet18.build(10, 16, width=width).eval(), torch.rand(3, 3, 16, 16))
    assert latents.shape == (3, 8 * width)


@pytest.mark.parametrize("before", [3, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [6, 7])
def test_a_shortcut_is_a_strided_convolution(before: int, stride: int, side: int) -> None:
    ours = shortcut(before, 5, stride).double()
    x = torch.rand(2, before, side, side, dtype=torch.float64, requires_grad=True)
    weight = ours.weight.detach().clone().requires_grad_(True)
    wanted = F.conv2d(x, weight, stride=stride)
    push = torch.rand_like(wanted)
    theirs = torch.autograd.grad(wanted, [x, weight], push)
    assert torch.allclose(ours(x), wanted)
    for mine, its in zip(torch.autograd.grad(ours(x), [x, ours.weight], push), theirs, strict=True):
        assert torch.allclose(mine, its)
    assert list(ours.state_dict()) == ["weight"]


@pytest.mark.parametrize("width", [2, 4, 8, 16])
def test_gradients_are_the_same_whichever_way_pixels_lie(width: int) -> None:
    x, y = torch.rand(32, 3, 16, 16), torch.arange(32) % 10
    torch.manual_seed(0)
    exact, model = resnet18.build(10, 16, width=width).double(), resnet18.build(10, 16, width=width)
    model.load_state_dict(exact.state_dict())
    model.to(memory_format=torch.channels_last)
    F.cross_entropy(exact(x.double()), y).backward()  # type: ignore[no-untyped-call]
    for _ in range(5):  # a write past the end shows in the end
        model.zero_grad()
        F.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y).backward()  # type: ignore[no-untyped-call]
    for p, q in zip(model.parameters(), exact.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        # a ReLU may fall on its other side
        assert (p.grad - q.grad).norm() <= 0.02 * q.grad.norm() + 1e-6


@pytest.mark.parametrize("build", [resnet18.build, torchvision_resnet18.build])
def test_the_norm_setting_is_alive(build: object) -> None:
    means = set()
    for norm in ("cifar10", "imagenet", "half"):
        model = build(2, 32, norm=norm)  # type: ignore[operator]
        x = torch.full((1, 3, 1, 1), 0.5)
        means.add(float(model.normalize(x).sum()))
    assert len(means) == 3 and 0.0 in means


def test_the_same_seed_gives_the_same_weights() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(resnet18.build(10, 16, width=2).state_dict())
    assert all(torch.equal(v, models[1][k]) for k, v in models[0].items())


def test_torchvisions_computes_what_torchvision_computes() -> None:
    import torchvision  # noqa: PLC0415 - slow to import

    torch.manual_seed(0)
    plain = torchvision.models.resnet18(num_classes=5).eval()
    ours = torchvision_resnet18.build(5, 64).eval()
    ours.load_state_dict({**ours.state_dict(), **plain.state_dict()})
    x = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = plain((x - mean[:, None, None]) / std[:, None, None])
    assert torch.allclose(ours(x), expected, atol=1e-5)


def test_the_convolution_stem_keeps_the_size_on_small_images() -> None:
    model = resnet18.build(2, 8, width=2)
    assert model.layer1(F.relu(model.conv1(torch.rand(1, 3, 8, 8)))).shape[-1] == 8  # type: ignore[operator]


def test_torchvisions_refuses_two_sources_and_tiny_images() -> None:
    with pytest.raises(SpecError, match="both set"):
        torchvision_resnet18.build(10, 64, weights="x", pretrained=True)
    with pytest.raises(SpecError, match="too small"):
        torchvision_resnet18.build(10, 16)


def test_torchvisions_keeps_a_new_head_where_the_classes_differ(tmp_path: object) -> None:
    given = torchvision_resnet18.build(9, 64)
    path = f"{tmp_path}/nine.safetensors"
    save_weights(given, path)
    same, other = (
        torchvision_resnet18.build(9, 64, weights=path),
        torchvision_resnet18.build(4, 64, weights=path),
    )
    assert torch.equal(same.fc.weight, given.fc.weight)  # type: ignore[arg-type, union-attr]
    assert other.fc.weight.shape == (4, 512)  # type: ignore[union-attr]
    assert torch.equal(other.conv1.weight, given.conv1.weight)  # type: ignore[arg-type, union-attr]
