"""Heads, stages and prunable units by data flow, and a model that is left as it is."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as tv
from list_capabilities import FAMILIES, SIZE, built
from torch import Tensor, nn

from trials import catalog
from trials.classifier import Classifier, with_features, with_latents
from trials.spec import SpecError
from trials.train import clone, frozen

SHAPE = (3, SIZE, SIZE)
STAGES = {
    "resnet18": ["layer1", "layer2", "layer3", "layer4"],
    "torchvision_resnet18": ["layer1", "layer2", "layer3", "layer4"],
    "small_cnn": ["layer1", "layer2"],
}


class Ends(nn.Module):
    """A feature, two heads defined before it, and what is made of them in the end."""

    def __init__(self, end: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.head, self.other, self.end = nn.Linear(8, 4), nn.Linear(8, 4), end
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        latent = self.conv(x).relu().mean((2, 3))
        return self.end(self.head(latent), self.other(latent))


@pytest.mark.parametrize("name", STAGES)
def test_the_models_of_the_repository_have_the_stages_that_stored_numbers_come_from(
    name: str,
) -> None:
    model = catalog.find("models", name)(7, 32)
    found = Classifier(model, SHAPE).stages()
    assert list(found) == STAGES[name]
    assert [s.module for s in found.values()] == [getattr(model, key) for key in found]
    x = torch.rand(2, 3, 32, 32)
    features, _ = with_features(model.eval(), list(found.values()), x)
    given = []
    for stage in found.values():
        stage.module.register_forward_hook(lambda _m, _i, out: given.append(out))
    model(x)
    assert all(torch.equal(a, b) for a, b in zip(features, given, strict=True))
    last = Classifier(model, SHAPE).prunable()
    assert last is not None and last.consumer is model.fc
    norm = {"resnet18": "layer4.1.bn2", "torchvision_resnet18": "layer4.1.bn2"}.get(
        name, "layer2.1"
    )
    assert last.maker is model.get_submodule(norm)
    assert last.number == last.maker.num_features


@pytest.mark.parametrize(
    ("end", "head"),
    [
        (lambda a, b: a, "head"),
        (lambda a, b: b, "other"),
        (lambda a, b: 20 * a, "head"),
        (lambda a, b: F.log_softmax(a, 1), "head"),
        (lambda a, b: (a + b) / 2, None),
        (lambda a, b: a.relu(), None),
        (lambda a, b: -a, None),
    ],
)
def test_the_head_gives_the_logits_but_for_a_scale(
    end: Callable[[Tensor, Tensor], Tensor], head: str | None
) -> None:
    model = Ends(end)
    if head is None:
        with pytest.raises(LookupError, match="no linear layer"):
            _ = Classifier(model, SHAPE).head
        return
    assert Classifier(model, SHAPE).head is getattr(model, head)


def test_a_convolution_over_its_whole_input_is_a_head_and_one_before_pooling_is_none() -> None:
    body = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    whole = nn.Sequential(*body, nn.Conv2d(8, 4, 2), nn.Flatten())
    seen = Classifier(whole, SHAPE)
    latents, logits = with_latents(whole, torch.rand(5, *SHAPE))
    assert seen.head is whole[3] and latents.shape == (5, 32)
    weight, bias = whole[3].weight.flatten(1), whole[3].bias
    assert torch.allclose(F.linear(latents, weight, bias), logits, atol=1e-6)
    units = seen.prunable()
    assert units is not None and (units.number, units.consumer) == (8, whole[3])
    assert Classifier(tv.squeezenet1_1(num_classes=4), (3, 64, 64)).parts.head is None


@pytest.mark.parametrize(
    ("family", "stages", "places"),
    [
        ("CNN, no BatchNorm", ["features.1", "features", "pool"], [16, 8, 2]),
        ("ViT", ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"], [4, 4]),
        ("Swin", ["features.1", "permute"], [8, 4]),
        ("ConvNeXt", ["features.1", "features"], [8, 4]),
        ("CLIP", ["vision.encoder.layers.0", "vision.encoder.layers.1"], [4, 4]),
    ],
)
def test_stages_give_maps_by_place(family: str, stages: list[str], places: list[int]) -> None:
    model = built(family)
    found = Classifier(model, SHAPE).stages()
    assert list(found) == stages
    maps, _ = with_features(model, list(found.values()), torch.rand(3, *SHAPE))
    assert [m.shape[2:] for m in maps] == [(side, side) for side in places]
    assert all(len(m) == 3 for m in maps)


def test_the_blocks_at_the_quarters_of_a_deep_transformer() -> None:
    model = tv.VisionTransformer(32, 8, 9, 2, 16, 24, num_classes=4)
    numbers = [name.rpartition("_")[2] for name in Classifier(model, SHAPE).stages()]
    assert numbers == ["2", "4", "6", "8"]


def test_the_class_token_alone_ranks_the_hidden_units_where_it_alone_is_read() -> None:
    units = Classifier(built("ViT"), SHAPE).prunable()
    assert units is not None and units.read == (0,)
    inputs = torch.zeros(2, 17, units.number)
    inputs[:, 0, 3], inputs[:, 1:, 7] = 1, 9
    assert units.activity(inputs).nonzero().flatten().tolist() == [3]
    every = Classifier(built("Swin"), SHAPE).prunable()
    assert every is not None and every.read == ()


class Mixed(nn.Module):
    """The head reads each channel's places, and a mean over all channels is taken from them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = F.adaptive_avg_pool2d(self.conv(x).relu(), 2)
        logits: Tensor = self.head((maps - maps.mean(1, keepdim=True)).flatten(1))
        return logits


class ChannelsLast(Mixed):
    """The head reads all channels of one place, then all of the next."""

    def forward(self, x: Tensor) -> Tensor:
        maps = F.adaptive_avg_pool2d(self.conv(x).relu(), 2)
        logits: Tensor = self.head(maps.permute(0, 2, 3, 1).flatten(1))
        return logits


class TwoReaders(Mixed):
    """What the head reads, another path reads too."""

    def forward(self, x: Tensor) -> Tensor:
        maps = F.adaptive_avg_pool2d(self.conv(x).relu(), 2)
        logits: Tensor = self.head(maps.flatten(1)) + maps.flatten(1)[:, :4]
        return logits


@pytest.mark.parametrize("build", [Mixed, ChannelsLast, TwoReaders])
def test_channels_that_cannot_be_told_apart_are_not_prunable(build: type[Mixed]) -> None:
    assert Classifier(build(), SHAPE).lacks({"prunable"}) == ["prunable"]


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_at_a_model_changes_nothing(family: str) -> None:
    model = built(family).train()
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad_(False)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    trained = [p.requires_grad for p in model.parameters()]
    with torch.inference_mode():
        Classifier(model, SHAPE).lacks(catalog.NEEDS)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == trained
    assert all(p.grad is None for p in model.parameters())
    assert all(m.training and not m._forward_hooks for m in model.modules())


class Counted(Ends):
    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.passes += 1
        return super().forward(x)


def test_a_model_and_its_copies_are_traced_once_and_again_once_they_are_changed() -> None:
    model = Counted(lambda a, b: a)
    Classifier(model, SHAPE).lacks(catalog.NEEDS)
    first = Counted.passes
    for seen in (model, clone(model), frozen(clone(model))):
        assert Classifier(seen, SHAPE).head is seen.head and Classifier(seen).stages() == {}
    assert Counted.passes == first
    model.head = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))  # type: ignore[assignment]
    assert Classifier(model, SHAPE).head is model.head[1]  # type: ignore[index]
    assert Counted.passes > first


def test_a_model_that_cannot_be_run_on_such_images_is_one_line() -> None:
    with pytest.raises(SpecError) as told:
        Classifier(built("ViT"), (3, 20, 20)).lacks({"head"})
    said = str(told.value)
    assert said.startswith("the model cannot be run on images of the shape (3, 20, 20): Wrong")
    assert "\n" not in said
