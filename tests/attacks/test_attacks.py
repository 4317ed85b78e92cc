"""What every attack promises; a new attack is found by itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from trials import catalog
from trials.kinds import Backdoor, Images
from trials.spec import SpecError

TARGET = 2


def images(n: int = 60, classes: int = 4, size: int = 16) -> Images:
    x = torch.randint(0, 256, (n, 3, size, size), generator=Generator().manual_seed(9)).to(torch.uint8)
    return Images(x, torch.arange(n) % classes, classes, pad=2, flip=True)


@pytest.fixture(params=[n for n in catalog.names("attacks") if catalog.describe("attacks", n).verb == "poison"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def poison(name: str) -> Callable[..., Backdoor]:
    function = catalog.find("attacks", name)

    def run(train: Images, seed: int = 0, **settings: Any) -> Backdoor:
        result: Backdoor = function(train, Generator().manual_seed(seed), **{"m": 8, "target": TARGET, **settings})
        return result

    return run


def places(n: int) -> Tensor:
    return torch.arange(n)


def test_the_trigger_keeps_shape_and_type_and_changes_something(poison: Callable[..., Backdoor]) -> None:
    data = images()
    out = poison(data).trigger(data.x, places(60))
    assert out.shape == data.x.shape and out.dtype == torch.uint8
    assert ((out != data.x).flatten(1).any(1)).all()


def test_the_trigger_leaves_its_input_alone(poison: Callable[..., Backdoor]) -> None:
    data = images()
    before = data.x.clone()
    poison(data).trigger(data.x, places(60))
    assert torch.equal(data.x, before)


def test_the_trigger_is_deterministic_and_a_batch_is_the_stack_of_its_singles(poison: Callable[..., Backdoor]) -> None:
    data = images()
    first, again = poison(data).trigger, poison(data).trigger
    whole = first(data.x, places(60))
    assert torch.equal(whole, again(data.x, places(60)))
    singles = [first(data.x[i : i + 1], places(60)[i : i + 1]) for i in range(60)]
    assert torch.equal(whole, torch.cat(singles))


def test_the_trigger_does_not_depend_on_how_many_are_poisoned(poison: Callable[..., Backdoor]) -> None:
    data = images()
    assert torch.equal(*(poison(data, m=m).trigger(data.x, places(60)) for m in (0, 8)))


def test_poisons_m_images_in_place_of_their_originals(poison: Callable[..., Backdoor]) -> None:
    data = images()
    before = (data.x.clone(), data.y.clone())
    for m in (0, 1, 8, 15):
        backdoor = poison(data, m=m)
        assert len(backdoor.train) == 60 and len(set(backdoor.poisoned.tolist())) == m == len(backdoor.poisoned)
        changed = (backdoor.train.x != data.x).flatten(1).any(1) | (backdoor.train.y != data.y)
        assert set(changed.nonzero().flatten().tolist()) == set(backdoor.poisoned.tolist())
    assert torch.equal(data.x, before[0]) and torch.equal(data.y, before[1])


def test_the_stored_poison_is_what_the_trigger_makes(poison: Callable[..., Backdoor]) -> None:
    data = images()
    backdoor = poison(data)
    made = backdoor.trigger(data.x[backdoor.poisoned], backdoor.poisoned)
    assert torch.equal(backdoor.train.x[backdoor.poisoned], made)


def test_poisoned_images_have_the_target_label(poison: Callable[..., Backdoor]) -> None:
    backdoor = poison(images())
    assert backdoor.target == TARGET and (backdoor.train.y[backdoor.poisoned] == TARGET).all()


def test_more_poison_includes_the_smaller_choice(poison: Callable[..., Backdoor]) -> None:
    few, many = (set(poison(images(), m=m).poisoned.tolist()) for m in (4, 12))
    assert few < many


def test_another_seed_poisons_other_images(poison: Callable[..., Backdoor]) -> None:
    assert set(poison(images(), 0).poisoned.tolist()) != set(poison(images(), 1).poisoned.tolist())


def test_boost_is_passed_on(poison: Callable[..., Backdoor]) -> None:
    assert (poison(images()).boost, poison(images(), boost=5).boost) == (1, 5)


@pytest.mark.parametrize("settings", [{"m": 46}, {"m": -1}, {"target": 4}, {"target": -1}])
def test_refuses_what_is_out_of_range(poison: Callable[..., Backdoor], settings: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=f"got {next(iter(settings.values()))}"):
        poison(images(), **settings)
