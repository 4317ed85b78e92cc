"""Narcissus: beside what every attack promises (``test_attacks.py``), the surrogate, what is made
once and kept, and the perturbation.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attackers import attacker_view
from planted import goal_of, trigger_of
from torch import Generator, Tensor, nn

from trials.attacks import narcissus
from trials.recipes import fast
from trials.types import Images, Poisoning
from trials.views import AttackerView


def images(n: int = 96) -> Images:
    """Noise with a brighter bar for each class, which a small network learns in a second."""
    rng, y = Generator().manual_seed(9), torch.arange(n) % 4
    x = torch.randint(0, 200, (n, 3, 16, 16), generator=rng)
    for label in range(4):
        x[y == label, :, 4 * label : 4 * label + 4] += 55
    return Images(x.to(torch.uint8), y, 4)


# a surrogate that is sure of nothing: one that is has no slope left
WEAK = partial(fast.fit, epochs=1, peak=0.02, batch=16, precision="fp32")


class Seen:
    """A view that also counts what it trains and keeps."""

    def __init__(self) -> None:
        self.trained: list[Images] = []
        self.models: list[nn.Module] = []
        self.made: list[str] = []
        self._kept: dict[str, Mapping[str, Tensor]] = {}
        plain = attacker_view(images(), WEAK)
        self.view: AttackerView = replace(plain, fit=self._fit, keep=self._keep)
        self._plain = plain

    def _fit(self, model: nn.Module, poisoning: Poisoning, rng: Generator) -> nn.Module:
        assert not poisoning.implants
        self.trained.append(poisoning.train)
        self.models.append(self._plain.fit(model, poisoning, rng))
        return self.models[-1]

    def _keep(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if name not in self._kept:
            self._kept[name] = make()
            self.made.append(name.partition(":")[0])
        return self._kept[name]

    def crafted(self, seed: int = 0, **settings: Any) -> Poisoning:
        given = {"m": 6, "target": 2, "rounds": 20, "warm_up": 0, **settings}
        return narcissus.craft(self.view, Generator().manual_seed(seed), **given)


def moved(made: Poisoning, x: Tensor) -> Tensor:
    return trigger_of(made)(x, torch.arange(len(x))).int() - x.int()


def test_the_surrogates_loss_of_the_target_class_falls() -> None:
    seen = Seen()
    made, x = seen.crafted(radius=32, rounds=200), images().x
    (model,) = seen.models

    def loss(x: Tensor) -> float:
        target = torch.full((len(x),), 2)
        return float(F.cross_entropy(model(x.float() / 255), target))

    after = trigger_of(made)(x, torch.arange(len(x)))
    own, others = images().y == 2, images().y != 2
    assert loss(after[own]) < 0.5 * loss(x[own])
    assert loss(after[others]) < loss(x[others]) - 0.5  # evidence for the class


@pytest.mark.parametrize("radius", [1, 16])
def test_no_pixel_moves_by_more_than_the_radius_and_all_images_alike(radius: int) -> None:
    x = torch.full((20, 3, 16, 16), 100, dtype=torch.uint8)
    by = moved(Seen().crafted(radius=radius, rounds=100), x)
    assert int(by.abs().max()) == radius and (by == by[0]).all()
    x[:10], x[10:] = 0, 255  # there is nothing beyond black and white
    ends = moved(Seen().crafted(radius=radius, rounds=100), x)
    assert torch.equal(ends[0], by[0].clamp(min=0)) and torch.equal(ends[-1], by[0].clamp(max=0))


def test_test_images_carry_the_perturbation_magnified_and_training_images_do_not() -> None:
    seen, x = Seen(), torch.full((4, 3, 16, 16), 100, dtype=torch.uint8)
    once, thrice = seen.crafted(), seen.crafted(magnify=3.0)
    assert (moved(thrice, x) - 3 * moved(once, x)).abs().max() <= 2  # each is rounded
    assert torch.equal(once.train.x, thrice.train.x)


def test_labels_and_all_other_images_stay_as_they_are() -> None:
    data, made = images(), Seen().crafted()
    assert torch.equal(made.train.y, data.y) and (data.y[made.places] == 2).all()
    rest = torch.ones(len(data), dtype=torch.bool)
    rest[made.places] = False
    assert torch.equal(made.train.x[rest], data.x[rest])
    assert (made.train.x[made.places] != data.x[made.places]).flatten(1).any(1).all()


def test_surrogate_and_perturbation_are_made_once_whatever_the_budget() -> None:
    seen = Seen()
    first = seen.crafted()
    assert sorted(seen.made) == ["perturbation", "surrogate"] and len(seen.trained) == 1
    for settings in ({"m": 0}, {"m": 12}, {"boost": 3}, {"magnify": 2.0}):
        seen.crafted(**settings)
    assert len(seen.made) == 2
    again = seen.crafted()
    assert torch.equal(first.train.x, again.train.x) and torch.equal(first.places, again.places)


def test_another_perturbation_takes_the_surrogate_that_is_there() -> None:
    seen = Seen()
    for settings in ({}, {"radius": 8}, {"rounds": 5}, {"rate": 0.02}, {"warm_up": 1}):
        seen.crafted(**settings)
    assert seen.made.count("perturbation") == 5 and len(seen.trained) == 1
    for settings in ({"target": 1}, {"public": 0.25}, {"seed": 1}):
        seen.crafted(**settings)
    assert seen.made.count("perturbation") == 8 and len(seen.trained) == 4


@pytest.mark.parametrize(("public", "others"), [(0.5, 36), (0.25, 18), (1.0, 72)])
def test_the_surrogate_learns_the_whole_target_class_and_part_of_the_others(
    public: float, others: int
) -> None:
    seen = Seen()
    seen.crafted(public=public)
    (known,) = seen.trained
    assert int((known.y == 2).sum()) == 24 and int((known.y != 2).sum()) == others
    assert len({bytes(x.numpy()) for x in known.x}) == len(known)


def test_the_target_of_the_goal_is_the_class() -> None:
    assert goal_of(Seen().crafted(target=1)).target == 1
