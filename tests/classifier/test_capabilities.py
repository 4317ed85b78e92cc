"""What defenses find in a model: head, stages, prunable channels and normalisations."""

from typing import Any

import pytest
import torch
from torch import nn

from trials import catalog
from trials.classifier import WHAT, Classifier, require
from trials.spec import SpecError

SMALL: dict[str, dict[str, Any]] = {
    "resnet18": {"width": 4},
    "clip_vit_b32": {"architecture": "tiny"},
}
# these stand for networks of any kind (test_any_architecture.py)
OTHERS = ("hugging_face", "live", "own", "timm", "torchvision")
NAMES = [n for n in catalog.names("models") if n not in OTHERS]
LACKS = {"clip_vit_b32": ["norms", "paired_norms", "trained_head"]}


def built(name: str) -> nn.Module:
    model: nn.Module = catalog.find("models", name)(7, 32, **SMALL.get(name, {}))
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_each_model_lacks_what_it_lacks(name: str) -> None:
    assert Classifier(built(name)).lacks(catalog.NEEDS) == LACKS.get(name, [])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_model_itself_and_no_copy(name: str) -> None:
    model, x = built(name), torch.rand(2, 3, 32, 32)
    seen, own = Classifier(model), list(model.modules())
    assert torch.equal(seen(x), model(x))
    assert any(seen.head is m for m in own)
    last = seen.prunable()
    assert last is not None
    found = [*(s.module for s in seen.stages().values()), *seen.norms(), last.consumer]
    assert all(any(f is m for m in own) for f in found)


def test_text_embeddings_that_are_trained_are_a_trained_head() -> None:
    model = catalog.find("models", "clip_vit_b32")(7, 32, architecture="tiny", text="trained")
    assert Classifier(model).lacks(catalog.NEEDS) == ["norms", "paired_norms"]


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
