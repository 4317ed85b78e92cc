"""What defenses find in a model: head, stages, prunable channels and normalisations."""

from typing import Any

import pytest
import torch
from torch import Generator, nn

from trials import catalog
from trials.classifier import WHAT, Classifier, require
from trials.spec import SpecError
from trials.types import DefenderView, Images

SMALL: dict[str, dict[str, Any]] = {
    "resnet18": {"width": 4},
    "clip_vit_b32": {"architecture": "tiny"},
}
LACKS = {"clip_vit_b32": ["norms", "prunable", "stages", "trained_head"]}


def built(name: str) -> nn.Module:
    model: nn.Module = catalog.find("models", name)(7, 32, **SMALL.get(name, {}))
    return model.eval()


@pytest.mark.parametrize("name", catalog.names("models"))
def test_each_model_lacks_what_it_lacks(name: str) -> None:
    assert Classifier(built(name)).lacks(catalog.NEEDS) == LACKS.get(name, [])


@pytest.mark.parametrize("name", catalog.names("models"))
def test_it_is_the_model_itself_and_no_copy(name: str) -> None:
    model, x = built(name), torch.rand(2, 3, 32, 32)
    seen, own = Classifier(model), list(model.modules())
    assert torch.equal(seen(x), model(x))
    assert any(seen.head is m for m in own)
    found = [*seen.stages().values(), *seen.norms(), *(p.producer for p in seen.prunable())]
    assert all(any(f is m for m in own) for f in found)


@pytest.mark.parametrize("name", ["resnet18", "torchvision_resnet18", "small_cnn"])
def test_the_prunable_channels_are_read_by_the_head(name: str) -> None:
    seen = Classifier(built(name))
    (last,) = seen.prunable()
    assert last.consumers == (seen.head,)
    assert last.norm is not None and last.norm.num_features == last.producer.out_channels
    assert seen.head.in_features % last.producer.out_channels == 0


def test_text_embeddings_that_are_trained_are_a_trained_head() -> None:
    model = catalog.find("models", "clip_vit_b32")(7, 32, architecture="tiny", text="trained")
    assert Classifier(model).lacks(catalog.NEEDS) == ["norms", "prunable", "stages"]


def small_view(model: nn.Module) -> DefenderView:
    labels = torch.arange(28) % 7
    x = torch.randint(0, 256, (28, 3, 32, 32), dtype=torch.uint8, generator=Generator())
    return DefenderView(model.eval(), Images(x, labels, 7))


@pytest.mark.parametrize("name", catalog.names("defenses"))
def test_a_defense_that_declares_no_need_that_clip_lacks_runs_on_it(name: str) -> None:
    """And one that declares it refuses it by itself too, in one line."""
    model, method = built("clip_vit_b32"), catalog.describe("defenses", name)
    few = {"steps": 1, "steps_per_class": 1, "batch": 4, "teacher_steps": 1, "members": 1}
    settings = {key: value for key, value in few.items() if key in method.settings}
    run = catalog.find("defenses", name)(small_view(model), Generator(), 1, **settings)
    if Classifier(model).lacks(method.needs):
        with pytest.raises(SpecError) as told:
            next(run)
        assert str(told.value).startswith(f"{name} needs a ") and "\n" not in str(told.value)
    else:
        assert all(isinstance(step, int) for step, _ in run)


def test_every_need_is_said_in_words_and_found_missing_in_one_line() -> None:
    assert set(WHAT) == set(catalog.NEEDS)
    empty = nn.Sequential(nn.Flatten())
    assert Classifier(empty).lacks(catalog.NEEDS) == sorted(catalog.NEEDS)
    for need, words in WHAT.items():
        with pytest.raises(SpecError) as told:
            require("mine", empty, {need}, "theirs")
        line = f"mine needs a model with {words}, and theirs has none: "
        assert str(told.value).startswith(line) and "\n" not in str(told.value)


def test_batch_normalisation_without_running_statistics_is_none() -> None:
    plain = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm2d(3))
    assert list(Classifier(plain).norms()) == [plain[1]]
