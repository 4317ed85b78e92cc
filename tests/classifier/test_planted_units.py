"""A unit that is silent on clean images and shouts on triggered ones is planted in the last maps,
or in the last block, of models of many makes: fine_pruning cuts it, and nothing that is no unit.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torchvision.models as tv
from list_capabilities import FAMILIES
from torch import Generator, Tensor, nn

from trials.classifier import Classifier, Prunable
from trials.defenses.fine_pruning import repair
from trials.types import DefenderView, Images

UNIT = 5
LOUD = 50.0


class HeadFirst(nn.Module):
    """Defines its classifier before its convolutions, and an auxiliary layer that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8 * 16, 4)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.unused = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = nn.functional.adaptive_avg_pool2d(self.norm(self.conv(x)).relu(), 4)
        logits: Tensor = self.head(maps.flatten(1))
        return logits


def convolutional_head() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(8, 4, 1),
        nn.Flatten(),
    )


def narrow_vgg() -> nn.Module:
    """VGG-11 with its 512 x 7 x 7 features, and linear layers that fit a test's memory."""
    with torch.device("meta"):
        model: Any = tv.vgg11_bn(num_classes=4)
    model.features.to_empty(device="cpu")
    for module in model.features:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    sizes = {0: (512 * 7 * 7, 16), 3: (16, 16), 6: (16, 4)}
    for place, (inside, outside) in sizes.items():
        model.classifier[place] = nn.Linear(inside, outside)
    return model  # type: ignore[no-any-return]


# a model, the module whose channel 5 is planted, the axis of its channels, the image's side, and
# the unit's number among all
MODELS: dict[str, tuple[Callable[[], nn.Module], str, int, int, int]] = {
    "mobilenet_v3_small": (
        lambda: tv.mobilenet_v3_small(num_classes=4), "features.12", 1, 32, UNIT,
    ),
    "vgg11_bn": (narrow_vgg, "features.26", 1, 32, UNIT),
    "densenet121": (lambda: tv.densenet121(num_classes=4), "features.norm5", 1, 32, UNIT),
    "googlenet": (
        lambda: tv.googlenet(num_classes=4, aux_logits=False, init_weights=False),
        "inception5b.branch4.1", 1, 64, 1024 - 128 + UNIT,
    ),
    "efficientnet_b0": (lambda: tv.efficientnet_b0(num_classes=4), "features.8", 1, 32, UNIT),
    "resnet18": (lambda: tv.resnet18(num_classes=4), "layer4", 1, 32, UNIT),
    "convnext": (FAMILIES["ConvNeXt"], "classifier.0", 1, 32, UNIT),
    "vit": (FAMILIES["ViT"], "encoder.layers.encoder_layer_1.mlp.1", -1, 32, UNIT),
    "swin": (FAMILIES["Swin"], "features.3.1.mlp.1", -1, 32, UNIT),
    "clip": (FAMILIES["CLIP"], "vision.encoder.layers.1.mlp.activation_fn", -1, 32, UNIT),
    "plain_cnn": (FAMILIES["CNN, no BatchNorm"], "features.3", 1, 32, UNIT),
    "head_first": (HeadFirst, "norm", 1, 32, UNIT),
    "convolutional_head": (convolutional_head, "2", 1, 32, UNIT),
}  # fmt: skip


def view_of(model: nn.Module, size: int) -> DefenderView:
    """Random images whose last pixel is never white: white is the trigger."""
    x = torch.randint(0, 255, (16, 3, size, size), dtype=torch.uint8, generator=Generator())
    return DefenderView(model, Images(x, torch.arange(16) % 4, 4))


class Planted:
    """The unit, as a hook on the module that makes it; every copy of the model has the hook."""

    def __init__(self, model: nn.Module, name: str, axis: int) -> None:
        self.fires, self.axis = torch.zeros(0, dtype=torch.bool), axis
        model.register_forward_pre_hook(self.look)
        model.get_submodule(name).register_forward_hook(self.act)

    def __deepcopy__(self, _: object) -> "Planted":
        return self

    def look(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.fires = (args[0][:, :, -1, -1] == 1).all(1)

    def act(self, _m: nn.Module, _i: object, out: Tensor) -> Tensor:
        value = torch.where(self.fires, LOUD, 0.0).view(-1, *[1] * (out.ndim - 2))
        parts = list(out.unbind(self.axis))
        parts[UNIT] = value.expand_as(parts[UNIT])
        return torch.stack(parts, self.axis)


def cut_units(units: Prunable) -> list[int]:
    """The units all of whose inputs are read with a weight of 0."""
    weight = units.consumer.weight.detach()
    zero = (weight.reshape(len(weight), units.number, -1) == 0).all(2).all(0)
    return [int(i) for i in zero.nonzero()]


def triggered(images: Images) -> Tensor:
    x = images.x.float() / 255
    x[:, :, -1, -1] = 1
    return x


LARGE = ("densenet121", "googlenet", "efficientnet_b0")


@pytest.fixture(
    params=[pytest.param(m, marks=[pytest.mark.slow] if m in LARGE else []) for m in MODELS]
)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[DefenderView, int]]:
    torch.manual_seed(0)
    build, name, axis, size, unit = MODELS[request.param]
    model = build()
    with torch.no_grad():  # statistics that fit the images; a head that is not all zeros
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
        for norm in Classifier(model).norms():
            norm.momentum = None
        model.train()(view_of(model, size).trusted.x.float() / 255)
    Planted(model.eval(), name, axis)
    yield view_of(model, size), unit


def test_fine_pruning_cuts_the_planted_unit(case: tuple[DefenderView, int]) -> None:
    view, unit = case
    clean, loud = view.trusted.x.float() / 255, triggered(view.trusted)
    with torch.no_grad():
        assert (view.model(loud) - view.model(clean)).abs().max() > 0.01  # the backdoor
    found = repair(view, Generator(), 1, steps=1, lr=1e-9, batch=8, rho=0.13, ranking_batches=2)
    ((_, repaired),) = found
    units = Classifier(repaired, view.trusted.x.shape[1:]).prunable()
    assert units is not None
    cut = cut_units(units)
    assert unit in cut and len(cut) == int(0.13 * units.number)
