"""ResNet-18 with activations before convolutions."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from trials import catalog
from trials.classifier import Classifier
from trials.models import preact_resnet18
from trials.spec import MethodConfig, SpecError

# of the public networks of this name, without what comes before the first dot
ENDS = {"bn1.weight", "conv1.weight", "bn2.weight", "conv2.weight", "shortcut.0.weight"}


def test_it_has_the_layers_of_the_public_networks_of_this_name() -> None:
    model = preact_resnet18.build(10, 32)
    assert sum(p.numel() for p in model.parameters()) == 11_171_146
    names = [name for name, _ in model.named_parameters() if "bias" not in name]
    assert names[0] == "conv1.weight" and names[-1] == "linear.weight"
    assert {name.split(".", 2)[2] for name in names[1:-1]} == ENDS
    assert [n for n in names if "shortcut" in n] == [
        f"layer{i}.0.shortcut.0.weight" for i in (2, 3, 4)
    ]


def test_a_block_normalises_first_and_adds_what_it_was_given() -> None:
    model = preact_resnet18.build(10, 32, width=4).eval()
    plain: Any = model.get_submodule("layer1.0")
    down: Any = model.get_submodule("layer2.0")
    x = torch.randn(2, 4, 8, 8)
    for block in (plain, down):
        block.bn1.running_mean.fill_(0.5)
        block.conv2.weight.detach().zero_()
    assert torch.equal(plain(x), x), "neither normalised nor cut off below 0"
    first = F.relu((x - 0.5) / (1 + down.bn1.eps) ** 0.5)
    expected = F.conv2d(first, down.shortcut[0].weight, stride=2)
    torch.testing.assert_close(down(x), expected)


def test_every_defense_for_networks_with_batch_normalisation_fits() -> None:
    seen = Classifier(preact_resnet18.build(10, 32, width=4))
    assert seen.lacks(catalog.NEEDS) == []
    assert list(seen.stages()) == ["layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"width": 513}, "width must be at most 512"),
        ({"width": 4, "groups": 3}, "groups must divide width"),
        ({"width": 0}, "width"),
    ],
)
def test_what_there_is_none_of_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says) as told:
        config = catalog.resolve("models", MethodConfig("preact_resnet18", settings))
        catalog.find("models", "preact_resnet18")(10, 32, **config.params)
    assert "\n" not in str(told.value)
