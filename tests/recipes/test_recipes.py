"""The recipes: they learn, they honour boost and frozen, they are reproducible, and they say when
they diverge.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import goal_of, planted
from torch import Generator, Tensor, nn

from trials import catalog
from trials.attacks import badnets
from trials.datasets import digits
from trials.metrics import accuracy, success
from trials.models import resnet18
from trials.recipes import given
from trials.spec import SpecError
from trials.types import Images, Poisoning
from trials.weights.files import save_weights

TRAINING = ["fast", "paper"]
PEAK: dict[str, dict[str, Any]] = {"fast": {"peak": 0.2}}


def untrained(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return resnet18.build(10, 16, width=4).to(memory_format=torch.channels_last)


def run(
    name: str, model: nn.Module, backdoor: Poisoning, seed: int = 0, **settings: Any
) -> list[tuple[int, int, float]]:
    return list(
        catalog.find("recipes", name)(model, backdoor, Generator().manual_seed(seed), **settings)
    )


def clean(train: Images) -> Poisoning:
    return Poisoning(train)


def few(n: int = 40) -> Images:
    return digits.load("train", size=8).take(torch.arange(n))


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", TRAINING)
def test_learns_the_digits_and_the_backdoor(name: str) -> None:
    model = untrained()
    backdoor = badnets.poison(digits.load("train"), Generator().manual_seed(0), m=100)
    reports = run(name, model, backdoor, epochs=3, batch=32, **PEAK.get(name, {}))
    test = digits.load("test")
    assert [step for step, _, _ in reports] == [45, 90, 135] and {
        total for _, total, _ in reports
    } == {135}
    assert reports[-1][2] < reports[0][2]
    assert accuracy(model, test) > 0.6
    assert success(model, goal_of(backdoor).cases(test)) > 0.3
    assert not model.training


@pytest.mark.parametrize("name", TRAINING)
def test_the_same_generator_gives_the_same_weights_and_another_gives_others(name: str) -> None:
    models = [untrained() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        run(name, model, clean(few()), seed, epochs=1, batch=16)
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert not torch.equal(weights(models[0]), weights(models[2]))


@pytest.mark.parametrize("name", TRAINING)
def test_measuring_between_epochs_changes_nothing(name: str) -> None:
    models = [untrained(), untrained()]
    run(name, models[0], clean(few()), epochs=2, batch=16)
    for _ in catalog.find("recipes", name)(
        models[1], clean(few()), Generator().manual_seed(0), epochs=2, batch=16
    ):
        models[1].eval()
    assert torch.equal(weights(models[0]), weights(models[1]))


def settings_of_training() -> list[tuple[str, str, object]]:
    changed = {
        "epochs": 2,
        "lr": 0.01,
        "peak": 0.01,
        "weight_decay": 0.1,
        "batch": 8,
        "augment": False,
        "precision": "bf16",
    }
    return [
        (n, s, changed[s])
        for n in TRAINING
        for s in catalog.describe("recipes", n).settings
        if s != "start"  # has a test of its own
    ]


@pytest.mark.parametrize(("name", "setting", "value"), settings_of_training())
def test_every_setting_is_alive(name: str, setting: str, value: object) -> None:
    base: dict[str, Any] = {"epochs": 1, "batch": 16, "precision": "fp32"}
    models = [untrained(), untrained()]
    run(name, models[0], clean(few()), **base)
    run(name, models[1], clean(few()), **{**base, setting: value})
    assert not torch.equal(weights(models[0]), weights(models[1]))


class Seen(nn.Module):
    """A model that keeps what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 10)
        self.batches: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append((x.detach() * 255).round().to(torch.uint8))
        logits: Tensor = self.fc(x.flatten(1))
        return logits

    def count(self, image: Tensor) -> int:
        return int((torch.cat(self.batches) == image).flatten(1).all(1).sum())


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("boost", [1, 3])
def test_a_poisoned_image_occurs_boost_times_an_epoch(name: str, boost: int) -> None:
    data, places = replace(few(), pad=0), torch.tensor([3, 17])
    model = Seen()
    run(name, model, planted(data, places, lambda x, _: x, 0, boost), epochs=2, batch=1)
    assert [model.count(data.x[i]) for i in (3, 17, 5)] == [2 * boost, 2 * boost, 2]


@pytest.mark.parametrize("name", TRAINING)
def test_frozen_images_are_never_augmented_and_others_are(name: str) -> None:
    data, places = replace(few(), pad=3), torch.tensor([3, 17])
    for frozen, low, high in ((True, 8, 8), (False, 0, 4)):
        model = Seen()
        run(name, model, planted(data, places, lambda x, _: x, 0, 1, frozen), epochs=8, batch=40)
        assert low <= model.count(data.x[3]) <= high and low <= model.count(data.x[17]) <= high
        assert model.count(data.x[5]) <= 4


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize(("batch", "steps", "size"), [(16, 2, 16), (100, 1, 40)])
def test_a_smaller_last_batch_is_dropped_unless_it_is_the_only_one(
    name: str, batch: int, steps: int, size: int
) -> None:
    model = Seen()
    assert run(name, model, clean(few()), epochs=1, batch=batch)[0][:2] == (steps, steps)
    assert {len(b) for b in model.batches} == {size}


@pytest.mark.parametrize("name", TRAINING)
def test_leaves_the_training_set_alone(name: str) -> None:
    backdoor = clean(few())
    before = backdoor.train.x.clone()
    run(name, untrained(), backdoor, epochs=1, batch=16)
    assert torch.equal(backdoor.train.x, before)


def test_says_at_which_step_training_diverged() -> None:
    model = Seen()
    with torch.no_grad():
        model.fc.weight.fill_(float("nan"))
    with pytest.raises(ArithmeticError, match="diverged at step 1: "):
        run("paper", model, clean(few()), epochs=1, batch=16)


def test_given_loads_a_file_and_trains_nothing(tmp_path: Path) -> None:
    stranger, model = untrained(5), untrained(0)
    save_weights(stranger, tmp_path / "w.safetensors")
    assert run("given", model, clean(few()), weights=str(tmp_path / "w.safetensors")) == []
    assert torch.equal(weights(model), weights(stranger))


def test_fast_starts_from_a_checkpoint_but_for_a_last_layer_of_other_classes(
    tmp_path: Path,
) -> None:
    stranger = resnet18.build(7, 16, width=4).to(memory_format=torch.channels_last)
    save_weights(stranger, tmp_path / "w.safetensors")
    model, drawn = untrained(0), untrained(0)
    start: dict[str, Any] = {"start": str(tmp_path / "w.safetensors")}
    run("fast", model, clean(few()), epochs=1, batch=64, peak=1e-30, weight_decay=0.0, **start)
    first = [dict(m.named_parameters())["layer1.0.conv1.weight"] for m in (model, stranger)]
    assert torch.equal(*first)
    last = [dict(m.named_parameters())["fc.weight"] for m in (model, drawn)]
    assert torch.equal(*last)


def test_fast_without_augmentation_trains_on_the_images_as_they_are() -> None:
    moved = few()
    assert moved.pad
    still = replace(moved, pad=0, flip=False)
    found = []
    for train, augment in ((moved, False), (still, True), (moved, True)):
        run("fast", model := untrained(), clean(train), epochs=1, batch=16, augment=augment)
        found.append(weights(model))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_given_refuses_to_go_without_a_file() -> None:
    with pytest.raises(SpecError, match="weights is empty"):
        given.fit(untrained(), clean(few()), Generator())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_learns_on_a_gpu(precision: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    model = untrained().cuda()
    backdoor = badnets.poison(
        digits.load("train"), Generator().manual_seed(0), m=100, pipeline="post_aug", boost=2
    )
    run("fast", model, backdoor, epochs=3, batch=32, peak=0.2, precision=precision)
    assert accuracy(model, digits.load("test")) > 0.8
