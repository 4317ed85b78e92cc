"""What every attack promises; a new attack is found by itself and held to the strictest form."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from attackers import attacker_view
from planted import goal_of, only, trigger_of
from torch import Generator, Tensor, nn

from trials import catalog
from trials.metrics import success
from trials.spec import SpecError
from trials.types import Images, Poisoning

TARGET = 2
KNOWN = [catalog.describe("attacks", n) for n in catalog.names("attacks")]
VERBS = {attack.name: attack.verb for attack in KNOWN if not attack.triggerless}
NAMES = [n for n, verb in VERBS.items() if verb in ("poison", "craft")]
# short
CRAFTING = {
    "narcissus": {"rounds": 20},
    "sleeper_agent": {"iterations": 5, "retrain": 1},
}


@dataclass(frozen=True)
class Promise:
    """What holds for an attack with its default settings, on images of 16 pixels.

    ``stored_is_tested``: training images are stamped as test images are. ``hides``: a training
    image may show nothing of the trigger. ``keeps_labels``: so many of m poisoned images keep their
    true label. ``corner``: nothing outside a square of this side changes. ``clean_label``: all
    poisoned images are of the target class, or none is; None takes either. ``on_train``,
    ``on_test``: at most so many pixels of an image change. ``across_devices``: a GPU's images
    differ by at most so many levels of 255. ``evidence``: the trigger leads a clean model to the
    target, by nature. ``jointly``: what is stored of an image depends on the others.
    """

    stored_is_tested: bool = True
    hides: bool = False
    keeps_labels: Callable[[int], int] = lambda m: 0
    clean_label: bool | None = None
    corner: int = 16
    on_train: int = 256
    on_test: int = 256
    across_devices: int = 1
    evidence: bool = False
    jointly: bool = False


def half(m: int) -> int:
    return m // 2


PROMISES = {
    "a_blend": Promise(clean_label=False, stored_is_tested=False, hides=True, keeps_labels=half),
    "a_patch": Promise(
        clean_label=False,
        stored_is_tested=False,
        hides=True,
        keeps_labels=half,
        corner=3,
        on_train=9,
        on_test=9,
    ),
    "adv": Promise(clean_label=True, across_devices=16),
    "badnets": Promise(clean_label=False, corner=3, on_train=9, on_test=9),
    "blended": Promise(clean_label=False),
    "c_badnets": Promise(clean_label=True, corner=3, on_train=9, on_test=9),
    "blend_pattern": Promise(clean_label=False),
    "blend_random": Promise(clean_label=False),
    "frequency": Promise(clean_label=False),
    "narcissus": Promise(clean_label=True, evidence=True),
    "patch4": Promise(clean_label=False, on_train=4, on_test=4),
    "refool": Promise(clean_label=True),
    "single_pixel": Promise(clean_label=False, on_train=1, on_test=1),
    "sinusoid": Promise(clean_label=True),
    "sleeper_agent": Promise(clean_label=True, stored_is_tested=False, on_test=16, jointly=True),
    "tsb": Promise(clean_label=False, stored_is_tested=False, on_train=9, on_test=72),
    "wanet": Promise(clean_label=True),
}


# where a setting shows only together with another
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("a_blend", "norm"): {"pipeline": "release"},
    ("a_patch", "cells"): {"patch": 8},
    ("badnets", "norm"): {"pipeline": "release"},
    ("sleeper_agent", "adam_eps"): {"optimizer": "adam"},
}
# where it shows on larger images alone
LARGE = {("patch4", "form"): 128}
# that change nothing, as its own tests show
DEAD = {("sleeper_agent", "batch")}
SETTINGS = [
    (n, key)
    for n in NAMES
    for key, s in catalog.describe("attacks", n).settings.items()
    if not s.location and (n, key) not in DEAD
]


def images(n: int = 60, classes: int = 4, size: int = 16) -> Images:
    x = torch.randint(0, 256, (n, 3, size, size), generator=Generator().manual_seed(9)).to(
        torch.uint8
    )
    return Images(x, torch.arange(n) % classes, classes, pad=2, flip=True)


def places(n: int) -> Tensor:
    return torch.arange(n)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def promise(name: str) -> Promise:
    return PROMISES.get(name, Promise())


def anew(name: str, size: int = 16, seed: int = 0, **settings: Any) -> Poisoning:
    """Of ``images``, which stay as they are."""
    train, beside = images(size=size), {"m": 8, "target": TARGET, **CRAFTING.get(name, {})}
    x, y = train.x.clone(), train.y.clone()
    given = attacker_view(train) if VERBS[name] == "craft" else train
    made: Poisoning = catalog.find("attacks", name)(
        given, Generator().manual_seed(seed), **beside | settings
    )
    assert torch.equal(train.x, x) and torch.equal(train.y, y)
    return made


made_once = functools.cache(anew)


@pytest.fixture
def poison(name: str) -> Callable[..., Poisoning]:
    """What several tests look at and none changes is made once."""

    def found(size: int = 16, **settings: Any) -> Poisoning:
        return made_once(name, size, **settings)

    return found


def test_the_promises_are_about_attacks_that_exist() -> None:
    assert set(PROMISES) <= set(NAMES)


@pytest.mark.parametrize("size", [16, 33])
def test_the_trigger_keeps_shape_and_type_and_changes_something(
    poison: Callable[..., Poisoning], size: int
) -> None:
    data = images(size=size)
    out = trigger_of(poison(size))(data.x, places(60))
    assert out.shape == data.x.shape and out.dtype == torch.uint8
    assert ((out != data.x).flatten(1).any(1)).all()


def test_the_trigger_leaves_its_input_alone_and_takes_no_images(
    poison: Callable[..., Poisoning],
) -> None:
    data = images()
    before, trigger = data.x.clone(), trigger_of(poison())
    out = trigger(data.x, places(60))
    assert torch.equal(data.x, before) and out.data_ptr() != data.x.data_ptr()
    assert trigger(data.x[:0], places(0)).shape == (0, 3, 16, 16)


def test_the_trigger_is_deterministic_and_a_batch_is_the_stack_of_its_singles(
    poison: Callable[..., Poisoning], name: str
) -> None:
    data = images()
    first, again = trigger_of(poison()), trigger_of(anew(name))
    whole = first(data.x, places(60))
    assert torch.equal(whole, again(data.x, places(60)))
    singles = [first(data.x[i : i + 1], places(60)[i : i + 1]) for i in range(0, 60, 5)]
    assert torch.equal(whole[::5], torch.cat(singles))
    backwards = places(60).flip(0)
    assert torch.equal(first(data.x[backwards], backwards), whole[backwards])


def test_the_trigger_does_not_depend_on_how_many_are_poisoned(
    poison: Callable[..., Poisoning],
) -> None:
    data = images()
    assert torch.equal(*(trigger_of(poison(m=m))(data.x, places(60)) for m in (0, 8)))


def test_pixels_outside_the_support_stay_as_they_are(
    poison: Callable[..., Poisoning], promise: Promise
) -> None:
    data = images()
    backdoor = poison(m=15)
    for changed, most in (
        ((trigger_of(backdoor)(data.x, places(60)) != data.x).any(1), promise.on_test),
        ((backdoor.train.x != data.x).any(1), promise.on_train),
    ):
        assert int(changed.sum((1, 2)).max()) <= most
        assert not changed[:, promise.corner :].any() and not changed[:, :, promise.corner :].any()


def test_poisons_m_images_in_place_of_their_originals(
    poison: Callable[..., Poisoning], promise: Promise
) -> None:
    data = images()
    for m in (0, 1, 8, 15):
        backdoor = poison(m=m)
        assert len(backdoor.train) == 60 and len(set(backdoor.places.tolist())) == m == len(
            backdoor.places
        )
        changed = (backdoor.train.x != data.x).flatten(1).any(1) | (backdoor.train.y != data.y)
        found, said = set(changed.nonzero().flatten().tolist()), set(backdoor.places.tolist())
        assert found <= said and (found == said or promise.hides)


def test_the_stored_poison_is_what_the_trigger_makes(
    poison: Callable[..., Poisoning], promise: Promise
) -> None:
    data = images()
    backdoor = poison()
    made = trigger_of(backdoor)(data.x[backdoor.places], backdoor.places)
    assert torch.equal(backdoor.train.x[backdoor.places], made) == promise.stored_is_tested


def test_poisoned_images_have_the_target_label_or_their_own(
    poison: Callable[..., Poisoning], promise: Promise
) -> None:
    data = images()
    for m in (0, 1, 7, 8, 15):
        backdoor = poison(m=m)
        before, after = data.y[backdoor.places], backdoor.train.y[backdoor.places]
        assert goal_of(backdoor).target == TARGET and len(
            set((before == TARGET).tolist()) - {promise.clean_label}
        ) <= (promise.clean_label is None)
        assert ((after == TARGET) | (after == before)).all()
        assert int((after != TARGET).sum()) == promise.keeps_labels(m)


def test_more_poison_includes_the_smaller_choice_as_it_was_stored(
    poison: Callable[..., Poisoning], promise: Promise
) -> None:
    few, many = (poison(m=m) for m in (5, 15))
    assert set(few.places.tolist()) < set(many.places.tolist())
    same = torch.equal(few.train.x[few.places], many.train.x[few.places])
    assert same is not promise.jointly
    assert torch.equal(few.train.y[few.places], many.train.y[few.places])


def test_the_seed_decides_everything(poison: Callable[..., Poisoning], name: str) -> None:
    first, again, other = poison(), anew(name), anew(name, seed=1)
    assert torch.equal(first.train.x, again.train.x) and torch.equal(first.train.y, again.train.y)
    assert torch.equal(first.places, again.places)
    assert set(first.places.tolist()) != set(other.places.tolist())


def test_boost_is_passed_on(poison: Callable[..., Poisoning]) -> None:
    assert (only(poison()).boost, only(poison(boost=5)).boost) == (1, 5)


def changed(name: str, key: str) -> Any:
    """Another value of the setting than its default."""
    setting = catalog.describe("attacks", name).settings[key]
    other = {"m": 7, "target": 1, "boost": 5, "rounds": 30, "batch": 4, "radius": 1, "shown": 9}
    if key in other:
        return other[key]
    if key in CRAFTING.get(name, {}):
        return CRAFTING[name][key] + 2
    if setting.choices:
        return next(c for c in setting.choices if c != setting.default)
    if isinstance(setting.default, bool):
        return not setting.default
    return (
        setting.default + 2
        if isinstance(setting.default, int)
        else float(setting.default) / 2 or 0.7
    )


@pytest.mark.parametrize(("name", "key"), SETTINGS, indirect=["name"])
def test_every_setting_is_alive(poison: Callable[..., Poisoning], name: str, key: str) -> None:
    size, beside = LARGE.get((name, key), 16), BESIDE.get((name, key), {})
    data = images(size=size)
    one, other = poison(size, **beside), poison(size, **beside, **{key: changed(name, key)})
    same = torch.equal(one.train.x, other.train.x) and torch.equal(one.train.y, other.train.y)
    same &= torch.equal(*(trigger_of(made)(data.x, places(60)) for made in (one, other)))
    assert not same or (only(one).boost, only(one).frozen) != (
        only(other).boost,
        only(other).frozen,
    )


@pytest.mark.parametrize("settings", [{"m": 46}, {"m": -1}, {"target": 4}, {"target": -1}])
def test_refuses_what_is_out_of_range(
    poison: Callable[..., Poisoning], settings: dict[str, int]
) -> None:
    with pytest.raises(SpecError, match=f"got {next(iter(settings.values()))}"):
        poison(**settings)


@pytest.mark.slow
def test_a_clean_model_is_led_to_the_target_by_at_most_five_points(
    name: str, clean_model: nn.Module, digits_train: Images, digits_test: Images
) -> None:
    """Else the trigger would be evidence for the class.

    It does not hold for ``pipeline`` = release, by nature.
    """
    if PROMISES.get(name, Promise()).evidence:
        pytest.skip("the trigger is evidence for the class, and says so")
    given = attacker_view(digits_train) if VERBS[name] == "craft" else digits_train
    for target in (0, 4):
        backdoor = catalog.find("attacks", name)(
            given, Generator().manual_seed(0), m=0, target=target
        )
        cases = goal_of(backdoor).cases(digits_test)
        shown = replace(cases, x=digits_test.x[cases.places])
        clean = success(clean_model, shown)
        assert success(clean_model, cases) <= clean + 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_trigger_does_the_same_on_a_gpu(
    poison: Callable[..., Poisoning], promise: Promise
) -> None:
    data = images()
    trigger = trigger_of(poison())
    there = trigger(data.x.cuda(), places(60).cuda())
    assert there.is_cuda
    assert (
        there.cpu().int() - trigger(data.x, places(60)).int()
    ).abs().max() <= promise.across_devices
