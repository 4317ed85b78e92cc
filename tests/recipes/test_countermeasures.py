"""Recipes against poison: each does what it says, and learns; no attacker reckons with it."""

from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sweep.execution import preflight
from trials import catalog
from trials.crafting import as_attacked
from trials.datasets import digits
from trials.metrics import accuracy
from trials.models import small_cnn
from trials.recipes._countermeasure import Adversarial, Mixing, Shaping
from trials.recipes._rows import Epic, Friendly, alone
from trials.spec import MethodConfig, SpecError
from trials.storage.blobs import LocalBlobStore
from trials.storage.checkpoint import Checkpointer
from trials.types import Images, Poisoning

# dp_sgd has tests of its own, as it needs another model and an extra
KNOWN = [catalog.describe("recipes", n) for n in catalog.names("recipes") if n != "dp_sgd"]
NAMES = [recipe.name for recipe in KNOWN if recipe.plain]
RESUMED = [n for n in NAMES if n not in ("epic", "friendly_noise")]
CHANGED: dict[str, Any] = {
    "clip": 0.01,
    "noise": 0.1,
    "epsilon": 4,
    "steps": 1,
    "step": 2.0,
    "kind": "cutout",
    "strength": 0.3,
    "begin": 2,
    "every": 1,
    "share": 0.5,
    "clamp": 4,
    "mu": 30.0,
    "noise_steps": 1,
    "random": 0,
    "epochs": 3,
    "peak": 0.01,
    "weight_decay": 0.1,
    "batch": 8,
    "precision": "bf16",
}
BASE: dict[str, Any] = {"epochs": 4, "batch": 16, "precision": "fp32", "peak": 0.1}
EARLY: dict[str, dict[str, Any]] = {
    "epic": {"begin": 1, "every": 2, "share": 0.3},
    "friendly_noise": {"begin": 1, "noise_steps": 4},
}


def few(n: int = 48) -> Images:
    return digits.load("train", size=8).take(torch.arange(n))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return small_cnn.build(10, 8, width=4).to(memory_format=torch.channels_last)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def fitted(
    name: str, data: Images, checkpointer: Checkpointer | None = None, **settings: Any
) -> nn.Module:
    model, fit = network(), catalog.find("recipes", name)
    list(fit(model, Poisoning(data), Generator().manual_seed(0), checkpointer, **settings))
    return model


def test_there_are_five() -> None:
    assert " ".join(NAMES) == (
        "adversarial_training epic friendly_noise gradient_shaping strong_augmentation"
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_the_digits(name: str) -> None:
    gentle = {"epsilon": 4, "steps": 1, "step": 4.0} if name == "adversarial_training" else {}
    own = EARLY.get(name, {})
    model = fitted(name, digits.load("train", size=8), **{**BASE, **own, **gentle, "batch": 64})
    assert accuracy(model, digits.load("test", size=8)) > 0.6 and not model.training


@pytest.mark.parametrize(
    ("name", "key"), [(r.name, key) for r in KNOWN if r.plain for key in r.settings]
)
def test_every_setting_is_alive(name: str, key: str) -> None:
    base = {**BASE, **EARLY.get(name, {})}
    one, other = fitted(name, few(), **base), fitted(name, few(), **{**base, key: CHANGED[key]})
    assert not torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("name", NAMES)
def test_it_repeats_itself_and_is_not_plain_training(name: str) -> None:
    given = {**BASE, **EARLY.get(name, {})}
    one, again = fitted(name, few(), **given), fitted(name, few(), **given)
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(fitted("fast", few(), **BASE)))


@pytest.mark.parametrize("name", RESUMED)
def test_one_that_was_cut_short_goes_on_as_if_nothing_had_been(name: str, tmp_path: Path) -> None:
    def checkpointer() -> Checkpointer:
        return Checkpointer(LocalBlobStore(tmp_path), "trial", 0, {})

    whole, half, fit = fitted(name, few(), **BASE), network(), catalog.find("recipes", name)
    steps = fit(half, Poisoning(few()), Generator().manual_seed(0), checkpointer(), **BASE)
    next(steps), next(steps)
    steps.close()
    second = checkpointer()
    again = fitted(name, few(), second, **BASE)
    assert torch.equal(weights(whole), weights(again)) and "resumed" in second.notes


@pytest.mark.parametrize("name", NAMES)
def test_an_attacker_trains_as_without_it(name: str) -> None:
    resolved = catalog.resolve("recipes", MethodConfig(name, {"epochs": 7, "peak": 0.1}))
    plain = catalog.resolve("recipes", MethodConfig("fast", {"epochs": 7, "peak": 0.1}))
    assert as_attacked(resolved) == plain == as_attacked(plain)


# What each does.


@pytest.mark.parametrize("name", EARLY)
def test_what_would_begin_after_the_last_epoch_is_refused_before_anything_runs(
    name: str, tmp_path: Path
) -> None:
    config = tiny_sweep.worker_config(tmp_path / "artifacts")

    def checked(begin: int) -> None:
        training = {"name": name, "epochs": 2, "begin": begin}
        given = {**tiny_sweep.VICTIM, "training": training}
        preflight.check(tiny_sweep.sweep(victim=given, game="training"), config)

    checked(1)
    with pytest.raises(SpecError, match=f"{name}: begin = 2 comes after all 2 epochs") as told:
        checked(2)
    assert "\n" not in str(told.value)


def test_a_shaped_gradient_is_clipped_and_then_noised() -> None:
    model, rng = nn.Linear(100, 100), Generator().manual_seed(0)
    for size, norm in ((1e3, 0.5), (1e-6, None)):
        for p in model.parameters():
            p.grad = torch.full_like(p, size)
        before = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        Shaping(0.5, 0.0).gradient(model, rng)
        after = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        assert float(after.norm()) == pytest.approx(norm or float(before.norm()), rel=1e-4)
        torch.testing.assert_close(after / after.norm(), before / before.norm())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    Shaping(0.5, 0.02).gradient(model, rng)
    noise = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert float(noise.std()) == pytest.approx(0.02, rel=0.05)


def test_a_training_that_its_noise_breaks_is_told_of_the_noise() -> None:
    with pytest.raises(ArithmeticError, match=r"Lower the recipe's noise or learning rate\.$"):
        fitted("gradient_shaping", few(), **{**BASE, "noise": 1e30})


class Recording(nn.Module):
    """A linear model that keeps what it is shown in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.shown = nn.Linear(3 * 8 * 8, 10), list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.shown.append(x.detach().clone())
        logits: Tensor = self.fc(x.flatten(1))
        return logits


def test_images_are_moved_against_the_model_by_at_most_epsilon() -> None:
    torch.manual_seed(0)
    model, data = Recording().train(), few()
    x, y = data.x.float() / 255, data.y
    loss = Adversarial(16, 4, 8.0).loss(model, x, y, Generator().manual_seed(0))
    (shown,) = model.shown
    assert float((shown - x).abs().max()) <= 16 / 255 + 1e-6
    assert float(shown.min()) >= 0 and float(shown.max()) <= 1
    model.eval()
    assert loss.item() > F.cross_entropy(model(x), y).item() + 0.01


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_images_and_labels_are_mixed_in_the_same_share(kind: str) -> None:
    model = Recording().train()
    x = torch.zeros(2, 3, 8, 8)
    x[1] = 1  # what an image has of the other is its mean
    y, rng = torch.tensor([0, 1]), Generator().manual_seed(0)
    shares = []
    for _ in range(40):
        loss = Mixing(kind, 1.0).loss(model, x, y, rng)
        shown = model.shown[-1]
        of = shown.mean((1, 2, 3))
        shares.append(float(of[0]))
        logits = model.fc(shown.flatten(1)).log_softmax(1)
        wanted = -(torch.stack([1 - of, of], 1) * logits[:, :2]).sum(1).mean()
        torch.testing.assert_close(loss, wanted)
        assert kind == "mixup" or set(shown.flatten().tolist()) <= {0.0, 1.0}
    assert len(set(shares)) > 5


def test_a_square_is_cut_out_and_the_worst_of_several_counts() -> None:
    model, data = Recording().train(), few()
    x, y = data.x.float() / 255 * 0.5 + 0.5, data.y
    Mixing("cutout", 0.5).loss(model, x, y, Generator().manual_seed(0))
    hidden = (model.shown[0] == 0).all(1)
    assert int(hidden.sum((1, 2)).max()) <= 16 and float(hidden.double().mean()) > 0.1
    torch.testing.assert_close(model.shown[0] * ~hidden[:, None], x * ~hidden[:, None])
    one = Mixing("cutout", 0.5).loss(model, x, y, Generator().manual_seed(1))
    worst = Mixing("maxup", 0.5).loss(model, x, y, Generator().manual_seed(1))
    assert worst.item() > one.item()


def test_points_that_are_alone_around_a_medoid_are_found() -> None:
    rng = Generator().manual_seed(0)
    crowd = [torch.randn(20, 4, generator=rng) * 0.1 + centre for centre in (0.0, 5.0)]
    far = torch.tensor([[30.0, 0, 0, 0], [0, 40.0, 0, 0]])
    points = torch.cat([crowd[0], far, crowd[1]])
    assert sorted(alone(points, 4).tolist()) == [20, 21]
    assert not len(alone(torch.zeros(6, 2), 1))
    assert len(alone(torch.cat(crowd), 2)) == 0


def test_medoids_are_those_of_plain_greedy_search() -> None:
    points = torch.rand(30, 3, generator=Generator().manual_seed(2))
    distances = torch.cdist(points, points)
    nearest, found = torch.full((30,), float(distances.max())), list[int]()
    for _ in range(8):
        gains = (nearest[:, None] - distances).clamp(min=0).sum(0)
        gains[found] = -1
        found.append(int(gains.argmax()))
        nearest = torch.minimum(nearest, distances[:, found[-1]])
    own = distances[:, found].argmin(1)
    lonely = {found[k] for k in range(8) if int((own == k).sum()) == 1}
    assert set(alone(points, 8).tolist()) == lonely


def test_epic_leaves_out_a_row_unlike_its_class_and_for_good() -> None:
    data, model = few(200), fitted("fast", few(200), **{**BASE, "epochs": 20})
    odd = int((data.y == 3).nonzero()[0])
    data.y[odd] = 8  # the model knows better: its gradient is like no other's of class 8
    epic = Epic(1, 2, 0.2, 64)
    assert epic.epoch(0, model, data, Generator()) is None
    left = epic.epoch(1, model, data, Generator())
    assert left is not None and odd not in left.tolist() and len(left) > 150
    assert epic.epoch(2, model, data, Generator()) is None
    later = epic.epoch(3, model, data, Generator())
    assert later is not None and set(later.tolist()) <= set(left.tolist())


def test_friendly_noise_is_large_and_leaves_the_answer_alone() -> None:
    data, model = few(), fitted("fast", few(), **{**BASE, "epochs": 20})
    places, rng = torch.arange(48), Generator().manual_seed(0)
    counter = Friendly(2, 16, 1.0, 30, 0)
    assert counter.epoch(1, model, data, rng) is None
    assert torch.equal(counter.images(data.x, places, rng), data.x)
    counter.epoch(2, model, data, rng)
    grey = torch.full_like(data.x, 128)
    noise = counter.images(grey, places, rng).int() - 128
    assert int(noise.abs().max()) <= 16 and float(noise.abs().float().mean()) > 4
    model.eval()
    x = data.x.float() / 255
    random = 16 * (2 * torch.rand(x.shape, generator=rng) - 1)
    random = random * (noise.float().std() / random.std())
    model.requires_grad_(False)
    before = model(x).log_softmax(1)
    moved = [
        float(F.kl_div(model(x + n / 255).log_softmax(1), before, log_target=True, reduction="sum"))
        for n in (noise.float(), random)
    ]
    assert moved[0] < moved[1]
    some = counter.images(data.x[5:9], places[5:9], rng)
    assert torch.equal(some, counter.images(data.x, places, rng)[5:9])


def test_random_noise_is_of_its_size_and_new_each_time() -> None:
    data, rng = few(), Generator().manual_seed(0)
    counter = Friendly(0, 1, 1.0, 1, 8)
    counter.epoch(0, network(), data, rng)
    grey = torch.full_like(data.x, 128)
    one, other = (counter.images(grey, torch.arange(48), rng).int() - 128 for _ in range(2))
    assert set(one.abs().flatten().tolist()) <= {7, 8, 9} and not torch.equal(one, other)
