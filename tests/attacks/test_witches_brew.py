"""Witches' Brew: what it changes and leaves, what is made once, and which restart is taken."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from attackers import attacker_view
from PIL import Image
from torch import Generator, Tensor

from trials import catalog
from trials.attacks import witches_brew
from trials.attacks._brewing import Brew
from trials.attacks._matching import aim_of
from trials.datasets import digits
from trials.recipes import fast
from trials.spec import SpecError
from trials.train import clone, to_float
from trials.types import Images, InstanceGoal, Poisoning

RECIPE = partial(fast.fit, epochs=1, peak=0.1, batch=32, precision="fp32")
SHORT: dict[str, Any] = {"budget": 0.05, "restarts": 1, "iterations": 6, "epsilon": 24}


def few(n: int = 240) -> Images:
    return replace(digits.load("train", size=8).take(torch.arange(n)), flip=True)


class Seen:
    """A view that also says what is made and kept."""

    def __init__(self, data: Images | None = None) -> None:
        self.made: list[str] = []
        self.kept: dict[str, Mapping[str, Tensor]] = {}
        train = few() if data is None else data
        test = digits.load("test", size=8)
        view = attacker_view(train, RECIPE)
        self.view = replace(view, targets=lambda: test, keep=self._keep)

    def _keep(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if name not in self.kept:
            self.kept[name] = make()
            self.made.append(name.partition(":")[0])
        return self.kept[name]

    def crafted(self, seed: int = 0, **settings: Any) -> Poisoning:
        given = {**SHORT, **settings}
        return witches_brew.craft(self.view, Generator().manual_seed(seed), **given)


@pytest.fixture(scope="module")
def seen() -> Seen:
    """One view for all tests that do not count what is made."""
    return Seen()


def goal(made: Poisoning) -> tuple[int, int]:
    """Place and wanted class of the only goal."""
    (implant,) = made.implants
    assert isinstance(implant.goal, InstanceGoal)
    return int(implant.goal.places), int(implant.goal.wanted)


@pytest.mark.parametrize("optimizer", ["sign_adam", "adam", "pgd", "momentum_pgd"])
def test_a_pixel_moves_by_at_most_epsilon_and_labels_stay(seen: Seen, optimizer: str) -> None:
    data, made = few(), seen.crafted(optimizer=optimizer, rate=9.0)
    assert torch.equal(made.train.y, data.y) and made.train.x.dtype == torch.uint8
    by = made.train.x.int() - data.x.int()
    assert len(made.places) == 12 and (data.y[made.places] == goal(made)[1]).all()
    assert 20 < int(by[made.places].abs().max()) <= 24
    assert by[made.places].flatten(1).any(1).all()
    by[made.places] = 0
    assert not by.any()


def test_poison_written_as_png_and_read_back_is_the_same(seen: Seen) -> None:
    made = seen.crafted()
    back = made.train.x.clone()
    for place in made.places.tolist():
        file = io.BytesIO()
        rows = made.train.x[place].permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(rows).save(file, "PNG")
        read = torch.from_numpy(np.array(Image.open(file)))
        back[place] = read.permute(2, 0, 1)
    assert torch.equal(back, made.train.x)


def test_without_epsilon_the_training_set_stays_and_nothing_is_trained() -> None:
    fresh = Seen()
    made = fresh.crafted(epsilon=0)
    assert torch.equal(made.train.x, few().x) and torch.equal(made.train.y, few().y)
    assert not fresh.made and goal(made) == goal(Seen().crafted())


def test_the_key_decides_everything_and_the_victims_seed_nothing(seen: Seen) -> None:
    one, again, other = seen.crafted(), seen.crafted(seed=1), seen.crafted(key=1)
    assert torch.equal(one.train.x, again.train.x) and goal(one) == goal(again)
    assert goal(one) != goal(other)
    place, wanted = goal(one)
    assert int(digits.load("test", size=8).y[place]) != wanted


def test_a_smaller_budget_takes_the_first_images_of_a_larger_one(seen: Seen) -> None:
    few_, many = (seen.crafted(budget=b, epsilon=0).places for b in (0.02, 0.05))
    assert torch.equal(many[: len(few_)], few_) and len(few_) == 5


def test_the_smallest_budget_is_one_image(seen: Seen) -> None:
    made = seen.crafted(budget=1e-13)
    moved = (made.train.x != few().x).flatten(1).any(1).nonzero().flatten()
    assert moved.tolist() == made.places.tolist() and len(moved) == 1


def test_surrogates_and_restarts_are_made_once() -> None:
    fresh = Seen()
    fresh.crafted()
    assert fresh.made == ["surrogate", "poison"]
    fresh.crafted(restarts=3)
    assert fresh.made == ["surrogate", "poison", "poison", "poison"]
    fresh.crafted(restarts=2)
    assert len(fresh.made) == 4
    fresh.crafted(ensemble=2)
    assert fresh.made[4:] == ["surrogate", "poison"]
    fresh.crafted(key=1)
    assert fresh.made[6:] == ["poison"]
    fresh.crafted(surrogate=1)
    assert fresh.made[7:] == ["surrogate", "poison"]


def test_the_restart_of_the_best_score_is_taken_and_every_one_gets_nearer() -> None:
    fresh = Seen()
    made = fresh.crafted(restarts=3, iterations=20)
    tried = [t for name, t in fresh.kept.items() if name.startswith("poison")]
    best = min(tried, key=lambda one: float(one["score"]))
    assert len({float(t["score"]) for t in tried}) == 3
    assert torch.equal(made.train.x[made.places], best["images"])
    for one in tried:
        assert float(one["history"][-5:].mean()) < float(one["history"][0])


def test_the_score_is_that_of_the_8_bit_poison_and_below_that_of_clean_images(seen: Seen) -> None:
    made = seen.crafted(iterations=20)
    place, wanted = goal(made)
    model = clone(seen.view.fresh(0)).eval()
    names = [name for name in seen.kept if name.startswith("surrogate: seed 0, member 0")]
    model.load_state_dict(seen.kept[names[0]])
    test = digits.load("test", size=8)
    shown = to_float(test.x[place : place + 1])
    aim = aim_of(model, shown, "xent", int(test.y[place]), wanted, "cosine", 0)
    how = brew(shift=0.125, flip=True)
    scores = [
        how.score([aim], x, made.train.y[made.places], Generator().manual_seed(3))
        for x in (made.train.x[made.places], few().x[made.places])
    ]
    assert scores[0] < scores[1]


def test_a_step_on_the_poison_raises_the_class_wanted_on_the_image(seen: Seen) -> None:
    made = seen.crafted(iterations=20, augment=False)
    place, wanted = goal(made)
    model = clone(seen.view.fresh(0)).eval()
    model.load_state_dict(seen.kept["surrogate: seed 0, member 0"])
    shown = to_float(digits.load("test", size=8).x[place : place + 1])
    poison, labels = to_float(made.train.x[made.places]), made.train.y[made.places]
    found = []
    for x in (poison, to_float(few().x[made.places])):
        stepped = clone(model).eval()
        loss = torch.nn.functional.cross_entropy(stepped(x), labels)
        parameters = list(stepped.parameters())
        slopes = torch.autograd.grad(loss, parameters)
        norm = torch.cat([g.flatten() for g in slopes]).norm()
        with torch.no_grad():
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter.sub_(1e-3 * slope / norm)  # as far for both
            found.append(float(stepped(shown).log_softmax(1)[0, wanted]))
    with torch.no_grad():
        before = float(model(shown).log_softmax(1)[0, wanted])
    assert found[0] > before and found[0] > found[1]


def brew(**changes: Any) -> Brew:
    given: dict[str, Any] = {"epsilon": 24, "iterations": 8, "rate": 6.0, "schedule": True}
    given |= {"start": "normal", "optimizer": "sign_adam", "batch": 64, "shift": 0.0, "flip": False}
    return Brew(**{**given, **changes})


def test_an_ensemble_of_one_model_twice_is_that_model(seen: Seen) -> None:
    data = few()
    model = clone(seen.view.fresh(0)).eval()
    aim = aim_of(model, to_float(data.x[:1]), "xent", 0, 3, "cosine", 0)
    x, y = data.x[50:60], data.y[50:60]
    one, twice = (
        brew().poisons(aims, x, y, Generator().manual_seed(0)) for aims in ([aim], [aim, aim])
    )
    assert torch.equal(one[0], twice[0]) and one[1] == pytest.approx(twice[1])


@pytest.mark.parametrize("poisons", ["wanted", "third", "any"])
def test_which_classes_are_poisoned(seen: Seen, poisons: str) -> None:
    made = seen.crafted(poisons=poisons, epsilon=0)
    place, wanted = goal(made)
    source = int(digits.load("test", size=8).y[place])
    classes = set(few().y[made.places].tolist())
    if poisons == "any":
        assert len(classes) > 2
    else:
        assert len(classes) == 1 and (classes == {wanted}) == (poisons == "wanted")
        assert source not in classes


def test_a_written_instance_is_attacked(seen: Seen) -> None:
    made, test = seen.crafted(instance="3-5-7", epsilon=0), digits.load("test", size=8)
    own = (test.y == 3).nonzero().flatten()
    assert goal(made) == (int(own[7]), 5) and (few().y[made.places] == 5).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"instance": "3-5"}, r"instance must be SOURCE-WANTED-IMAGE, such as 3-5-17, got '3-5'"),
        ({"instance": "3-5-x"}, "must be SOURCE-WANTED-IMAGE"),
        ({"instance": "3-3-0"}, "names one class twice"),
        ({"instance": "3-10-0"}, "one beyond 9"),
        ({"instance": "3-5-9999"}, "an image beyond the .* test images"),
        ({"instance": "3-5-" + "9" * 5000}, "3-5-9{36}' .* an image beyond the .* test images"),
        ({"budget": 0.5}, r"budget = 0.5 is 120 images, but class . has \d+ of 240\. Lower it"),
    ],
)
def test_what_cannot_be_attacked_is_refused_before_anything_is_trained(
    settings: dict[str, Any], says: str
) -> None:
    fresh = Seen()
    resolved = {
        k: s.default for k, s in catalog.describe("attacks", "witches_brew").settings.items()
    }
    for refused in (
        partial(fresh.crafted, **settings),
        partial(witches_brew.check, fresh.view, **{**resolved, **settings}),
    ):
        with pytest.raises(SpecError, match=says) as told:
            refused()
        assert len(str(told.value).splitlines()) == 1
    assert not fresh.made


CHANGED: dict[str, Any] = {
    "key": 1,
    "instance": "3-5-7",
    "budget": 0.03,
    "epsilon": 8,
    "poisons": "any",
    "iterations": 5,
    "rate": 2.0,
    "schedule": False,
    "start": "zero",
    "optimizer": "pgd",
    "adam_eps": 1.0,
    "loss": "untargeted",
    "match": "squared",
    "layers": 1,
    "ensemble": 2,
    "surrogate": 1,
    "augment": False,
    "shift": 0.25,
    "precision": "bf16",
}


def test_the_settings_are_those_that_are_tried() -> None:
    known = catalog.describe("attacks", "witches_brew")
    others = {"batch", "restarts", "arch"}  # arch: tests/games/test_targeted.py
    assert set(CHANGED) | others == set(known.settings) and known.triggerless


@pytest.mark.parametrize("key", sorted(CHANGED))
def test_every_setting_is_alive(seen: Seen, key: str) -> None:
    one, other = seen.crafted(), seen.crafted(**{key: CHANGED[key]})
    assert not torch.equal(one.train.x, other.train.x)


def test_the_batch_changes_at_most_rounding(seen: Seen) -> None:
    parts = Seen().crafted(batch=5, optimizer="adam")
    whole = seen.crafted(optimizer="adam")
    by = (parts.train.x.int() - whole.train.x.int()).abs()[whole.places]
    assert float((by > 1).double().mean()) < 0.05
