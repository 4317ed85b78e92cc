"""The ResNets for small images: the public checkpoints of CIFAR-10 are theirs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trials import catalog
from trials.classifier import Classifier
from trials.metrics import accuracy
from trials.models import cifar_resnet
from trials.spec import MethodConfig, SpecError
from trials.weights.files import load_weights

pytestmark = pytest.mark.usefixtures("quick_reader")


@pytest.mark.parametrize(
    ("depth", "number", "name"),
    [
        (20, 269_722, "resnet20-12fca82f.th"),
        (32, 464_154, "resnet32-d509ac18.th"),
        (44, 658_586, "resnet44-014dd654.th"),
        (56, 853_018, "resnet56-4bfd9763.th"),
    ],
)
def test_a_public_checkpoint_fills_it(
    public_models: Path, depth: int, number: int, name: str
) -> None:
    model = cifar_resnet.build(10, 32, depth=depth)
    taken = load_weights(model, str(public_models / name))
    assert sum(p.numel() for p in model.parameters()) == number
    weights = torch.load(public_models / name, map_location="cpu")["state_dict"]
    plain = {key.removeprefix("module."): value for key, value in weights.items()}
    state = model.state_dict()
    assert set(taken.names) == plain.keys(), "every tensor of the file is taken"
    assert all(torch.equal(state[key], value) for key, value in plain.items())


def test_the_public_resnet20_knows_cifar10(cifar10_root: Path, public_models: Path) -> None:
    model = cifar_resnet.build(10, 32, norm="imagenet").eval()
    load_weights(model, str(public_models / "resnet20-12fca82f.th"))
    test = catalog.find("datasets", "cifar10")("test", root=str(cifar10_root))
    few = test.take(torch.arange(400))  # its rows lie in no order
    assert accuracy(model, few) > 0.75  # 81 % of all


def test_a_shortcut_is_every_second_pixel_with_channels_of_zeros_around() -> None:
    block: Any = cifar_resnet.build(10, 32, width=2).get_submodule("layer2.0")
    block.conv2.weight.detach().zero_()
    x = torch.rand(2, 2, 6, 6)
    found: Tensor = block.eval()(x)
    assert torch.equal(found[:, 1:3], x[:, :, ::2, ::2])
    assert found.shape == (2, 4, 3, 3) and not found[:, [0, 3]].any()


def test_every_defense_for_networks_with_batch_normalisation_fits() -> None:
    seen = Classifier(cifar_resnet.build(10, 32, depth=8, width=4))
    assert seen.lacks(catalog.NEEDS) == []
    assert list(seen.stages()) == ["layer1", "layer2", "layer3"]
    last = seen.prunable()
    assert last is not None and last.number == 16 and isinstance(last.consumer, nn.Linear)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"depth": 21}, "depth must be 6 n . 2"),
        ({"depth": 2}, "depth must be 6 n . 2"),
        ({"depth": 1208}, "at most 1202"),
        ({"width": 513}, "width must be at most 512"),
        ({"depth": 0}, "depth"),
        ({"width": 0}, "width"),
    ],
)
def test_what_there_is_none_of_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says) as told:
        config = catalog.resolve("models", MethodConfig("cifar_resnet", settings))
        catalog.find("models", "cifar_resnet")(10, 32, **config.params)
    assert "\n" not in str(told.value)
