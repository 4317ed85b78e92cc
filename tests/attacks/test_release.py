"""The pipeline of the release, in both attacks that have it."""

from types import ModuleType
from typing import Any

import pytest
import torch
from planted import only, trigger_of
from torch import Generator, Tensor

from trials.attacks import a_blend, badnets
from trials.attacks._pipeline import unnormalised
from trials.models import resnet18
from trials.train import augment, to_float
from trials.types import Images, Poisoning, TriggerGoal

BOTH = pytest.mark.parametrize("attack", [badnets, a_blend])
STD = {"cifar10": 0.1994, "imagenet": 0.224, "half": 0.5}  # the smallest of the three channels


def images(n: int = 60) -> Images:
    x = torch.randint(0, 256, (n, 3, 16, 16), generator=Generator().manual_seed(9)).to(torch.uint8)
    return Images(x, torch.arange(n) % 4, 4, pad=2, flip=True)


def run(attack: ModuleType, seed: int = 0, **settings: Any) -> Poisoning:
    backdoor: Poisoning = attack.poison(
        images(), Generator().manual_seed(seed), **{"m": 20, **settings}
    )
    return backdoor


def normalised(norm: Any, x: Tensor) -> Tensor:
    """What the model sees after its first layer."""
    layer = resnet18.build(10, 16, width=1, norm=norm).get_submodule("normalize")
    seen: Tensor = layer(to_float(x))
    return seen


@pytest.mark.parametrize("norm", list(STD))
def test_what_the_model_sees_after_its_first_layer_are_the_raw_pixels(norm: Any) -> None:
    x = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    seen = normalised(norm, unnormalised(x, norm))
    assert (seen - to_float(x)).abs().max() <= 0.5 / 255 / STD[norm] + 1e-5
    wrong = {"cifar10": "half", "imagenet": "half", "half": "cifar10"}[norm]
    assert (normalised(wrong, unnormalised(x, norm)) - to_float(x)).abs().max() > 0.2


@BOTH
@pytest.mark.parametrize("norm", list(STD))
def test_a_test_image_is_stamped_twice_and_then_moved(attack: ModuleType, norm: str) -> None:
    x, index = images().x, torch.arange(60)
    once = trigger_of(run(attack))
    out = trigger_of(run(attack, pipeline="release", norm=norm))(x, index)
    assert torch.equal(out, unnormalised(once(once(x, index), index), norm))
    assert torch.equal(
        out[7:8], trigger_of(run(attack, pipeline="release", norm=norm))(x[7:8], index[7:8])
    )


@BOTH
def test_the_release_is_asked_for_its_two_parts_apart(attack: ModuleType) -> None:
    x, index = images().x, torch.arange(60)
    once, probes = trigger_of(run(attack)), only(run(attack, pipeline="release")).probes
    asked = {name: goal.trigger for name, goal in probes.items() if isinstance(goal, TriggerGoal)}
    assert torch.equal(asked["asr_no_trigger"](x, index), unnormalised(x, "cifar10"))
    assert torch.equal(asked["asr_normalised"](x, index), once(x, index))
    assert not only(run(attack)).probes and not only(run(attack, pipeline="post_aug")).probes


@BOTH
def test_without_the_trigger_the_move_is_left(attack: ModuleType) -> None:
    x, index = images().x, torch.arange(60)
    backdoor = run(attack, pipeline="release", alpha=0.0)
    assert torch.equal(trigger_of(backdoor)(x, index), unnormalised(x, "cifar10"))
    assert trigger_of(backdoor)(x, index).int().sub(x.int()).abs().max() > 100


def test_poison_is_shifted_and_mirrored_once_stamped_moved_and_frozen() -> None:
    after, release = run(badnets, pipeline="post_aug"), run(badnets, pipeline="release")
    assert torch.equal(after.places, release.places) and only(release).frozen
    # the patch of BadNets covers itself
    made = unnormalised(after.train.x[after.places], "cifar10")
    assert torch.equal(release.train.x[release.places], made)


@BOTH
def test_the_rest_of_the_training_set_and_the_places_are_those_of_the_correct_pipeline(
    attack: ModuleType,
) -> None:
    before, release = run(attack), run(attack, pipeline="release")
    assert torch.equal(before.places, release.places) and torch.equal(
        before.train.y, release.train.y
    )
    rest = torch.ones(60, dtype=torch.bool)
    rest[release.places] = False
    assert torch.equal(release.train.x[rest], images().x[rest])
    assert len(run(attack, pipeline="release", m=0).places) == 0


def test_a_blend_without_opacity_is_shifted_by_the_attacks_own_draws() -> None:
    backdoor, data = run(a_blend, pipeline="release", alpha=0.0), images()
    shifts = {
        unnormalised(augment(data.x[i : i + 1], Generator().manual_seed(s), 2, True), "cifar10")
        .numpy()
        .tobytes()
        for i in backdoor.places[:1].tolist()
        for s in range(400)
    }
    assert backdoor.train.x[backdoor.places[0]].numpy().tobytes() in shifts
