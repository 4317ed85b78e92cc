"""Adv: the perturbation, the surrogates it is made against, and when they are made."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from planted import only, trigger_of
from torch import Generator, Tensor, nn

from trials.attacks import _adversarial, adv
from trials.attacks._adversarial import Steered, cached
from trials.spec import SpecError
from trials.types import Images, Poisoning
from trials.weights.files import save_weights


def images(n: int = 48, size: int = 16) -> Images:
    """Noise with a brighter bar for each class, which a small network learns in seconds."""
    rng, y = Generator().manual_seed(9), torch.arange(n) % 4
    x = torch.randint(0, 200, (n, 3, size, size), generator=rng)
    for label in range(4):
        x[y == label, :, 4 * label : 4 * label + 4] += 55
    return Images(x.to(torch.uint8), y, 4)


def poisoned(seed: int = 0, **settings: Any) -> Poisoning:
    return adv.poison(images(), Generator().manual_seed(seed), **{"m": 6, "target": 2, **settings})


def steered(backdoor: Poisoning) -> Steered:
    trigger = trigger_of(backdoor)
    assert isinstance(trigger, Steered)
    return trigger


def loss(trigger: Steered, x: Tensor) -> float:
    with torch.no_grad():
        logits: Tensor = trigger.surrogate()(x / 255)
    return float(F.cross_entropy(logits, torch.full((len(x),), trigger.steer)))


def stamped(backdoor: Poisoning, x: Tensor) -> Tensor:
    return trigger_of(backdoor)(x, torch.arange(len(x)))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision's for ImageNet, with weights that mean nothing."""
    file = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18(weights=None).state_dict(), file)
    return file


@pytest.mark.parametrize(("sign", "falls"), [("targeted", True), ("release", False)])
def test_the_surrogates_loss_of_the_steered_class_falls_or_rises(sign: str, falls: bool) -> None:
    backdoor, x = poisoned(sign=sign, epochs=30), images().x
    before, after = (loss(steered(backdoor), part) for part in (x, stamped(backdoor, x)))
    assert after < before - 0.3 if falls else after > before + 0.3


def test_more_steps_steer_further() -> None:
    x = images().x
    losses = [
        loss(steered(b), stamped(b, x))
        for b in (poisoned(epochs=30, steps=n, epsilon=16) for n in (1, 3, 8))
    ]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[2] + 0.2


@pytest.mark.parametrize(("epsilon", "step"), [(1, 2.0), (8, 2.0), (8, 100.0)])
def test_no_pixel_moves_by_more_than_epsilon(epsilon: int, step: float) -> None:
    x = images().x
    x[:10], x[10:20] = 0, 255  # at the ends there is no room on one side
    moved = (stamped(poisoned(epsilon=epsilon, step=step), x).int() - x.int()).abs()
    assert moved.max() == epsilon


def test_labels_and_all_other_images_stay_as_they_are() -> None:
    data, backdoor = images(), poisoned()
    assert torch.equal(backdoor.train.y, data.y) and (data.y[backdoor.places] == 2).all()
    rest = torch.ones(48, dtype=torch.bool)
    rest[backdoor.places] = False
    assert torch.equal(backdoor.train.x[rest], data.x[rest]) and not torch.equal(
        backdoor.train.x, data.x
    )


def test_each_image_gets_a_perturbation_of_its_own_from_a_start_that_its_place_keys() -> None:
    x = images().x[:1].repeat(2, 1, 1, 1)
    trigger = trigger_of(poisoned())
    here, there = trigger(x, torch.tensor([5, 6]))
    assert not torch.equal(here, there)
    assert torch.equal(trigger(x[:1], torch.tensor([6]))[0], there)


def test_a_batch_of_any_size_equals_the_stack_of_its_singles() -> None:
    trigger, x = trigger_of(poisoned(epochs=8)), images(130).x
    index = torch.arange(130) * 7
    whole = trigger(x, index)
    for i in (0, 15, 16, 77, 129):
        assert torch.equal(trigger(x[i : i + 1], index[i : i + 1]), whole[i : i + 1])
    assert torch.equal(trigger(x[3:40], index[3:40]), whole[3:40])


def test_the_surrogate_is_trained_once_and_only_when_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(_adversarial, "_cache", made)
    cheap = poisoned(m=0)
    assert not made
    stamped(cheap, images().x[:2])
    surrogate = steered(cheap).surrogate()
    backdoors = [poisoned(), poisoned(m=3, boost=2), poisoned(steps=2)]
    assert all(steered(b).surrogate() is surrogate for b in backdoors)
    assert sum(isinstance(value, nn.Module) for value in made.values()) == 1
    others = [poisoned(seed=1, m=0), poisoned(epochs=5, m=0)]
    assert all(steered(b).surrogate() is not surrogate for b in others)


def test_asking_again_for_the_same_attack_takes_the_poison_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_adversarial, "_cache", {})
    first = poisoned()
    size = len(_adversarial._cache)
    again = poisoned()
    assert len(_adversarial._cache) == size == 2 and torch.equal(first.train.x, again.train.x)
    again.train.x.fill_(0)
    assert torch.equal(first.train.x, poisoned().train.x)


def test_another_training_set_gets_another_surrogate() -> None:
    one, other = images(), images()
    other.x[0] = 0
    triggers = [
        trigger_of(adv.poison(d, Generator().manual_seed(0), m=0, target=2)) for d in (one, other)
    ]
    assert not torch.equal(*(t(one.x, torch.arange(48)) for t in triggers))


def test_the_cache_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_adversarial, "_cache", {})
    assert [cached(str(i), lambda i=i: i) for i in range(9)] == list(range(9))  # type: ignore[misc]
    assert (
        cached("8", lambda: "made again") == 8 and cached("0", lambda: "made again") == "made again"
    )


@pytest.mark.slow
def test_training_the_surrogate_takes_no_numbers_from_the_global_generator(resnet: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    stamped(poisoned(seed=77), images().x[:1])
    steered(poisoned(weights=str(resnet), m=0)).surrogate()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_the_papers_form_steers_torchvisions_resnet_to_its_class_421(resnet: Path) -> None:
    backdoor, x = poisoned(weights=str(resnet), m=0, steps=2), images().x[:3]
    trigger = steered(backdoor)
    assert trigger.steer == 421 and trigger.surrogate()(x / 255).shape == (3, 1000)
    out = stamped(backdoor, x)
    assert loss(trigger, out) < loss(trigger, x) and 1 <= (out.int() - x.int()).abs().max() <= 8
    assert torch.equal(trigger(x[1:2], torch.tensor([1])), out[1:2])


def test_the_resnet_sees_images_at_224_pixels_and_normalised(resnet: Path) -> None:
    x = images().x[:2] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    plain = torchvision.models.resnet18(weights=None).eval()
    plain.load_state_dict(torch.load(resnet, weights_only=True))
    large = F.interpolate(x, (224, 224), mode="bilinear", align_corners=False)
    expected = plain((large - mean[:, None, None]) / std[:, None, None])
    assert torch.allclose(
        steered(poisoned(weights=str(resnet), m=0)).surrogate()(x), expected, atol=1e-5
    )


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_weights(nn.Linear(2, 2), tmp_path / "small.safetensors")
    with pytest.raises(SpecError, match="small.safetensors"):
        poisoned(weights=str(tmp_path / "small.safetensors"))


@pytest.mark.parametrize(
    ("steer", "weights", "says"),
    [
        (4, "", r"0\.\.3 or -1, got 4"),
        (-2, "", r"0\.\.3 or -1, got -2"),
        (2, "", "differ from the target class 2"),
        (1000, "file", r"0\.\.999 or -1, got 1000"),
    ],
)
def test_refuses_a_class_that_it_cannot_steer_to(steer: int, weights: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        poisoned(m=0, steer=steer, weights=weights)


def test_without_weights_it_steers_to_the_class_after_the_target() -> None:
    assert [steered(poisoned(m=0, target=t)).steer for t in range(4)] == [1, 2, 3, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"m": 7},
        {"target": 1},
        {"epsilon": 4},
        {"steps": 2},
        {"step": 1.0},
        {"sign": "release"},
        {"steer": 0},
        {"epochs": 9},
        {"boost": 2},
    ],
)
def test_every_setting_is_alive(change: dict[str, Any]) -> None:
    plain, other = poisoned(), poisoned(**change)
    same = torch.equal(plain.train.x, other.train.x)
    assert not same or only(plain).boost != only(other).boost
