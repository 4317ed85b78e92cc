"""Sleeper Agent: beside what every attack promises (``test_attacks.py``), which images it takes,
the surrogates that it trains anew, and what it makes once.
"""

import io
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from attackers import attacker_view
from PIL import Image
from planted import goal_of, only, trigger_of
from torch import Generator, Tensor, nn

from trials import catalog
from trials.attacks import sleeper_agent
from trials.attacks._draws import seed_of
from trials.attacks._matching import aim_of
from trials.attacks._surrogates import surrogate
from trials.datasets import digits
from trials.recipes import fast
from trials.spec import SpecError
from trials.train import to_float
from trials.types import Images, Poisoning

RECIPE = partial(fast.fit, epochs=1, peak=0.1, batch=32, precision="fp32")
SHORT: dict[str, Any] = {"m": 12, "target": 3, "iterations": 6, "retrain": 0, "epsilon": 24}


def few(n: int = 240) -> Images:
    return digits.load("train", size=8).take(torch.arange(n))


class Seen:
    """A view that also says what is trained and kept."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.trained: list[Poisoning] = []
        self.kept: dict[str, Mapping[str, Tensor]] = {}
        self._plain = attacker_view(few(), RECIPE)
        self.view = replace(self._plain, fit=self._fit, keep=self._keep)

    def _fit(self, model: nn.Module, poisoning: Poisoning, rng: Generator) -> nn.Module:
        self.trained.append(poisoning)
        return self._plain.fit(model, poisoning, rng)

    def _keep(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if name not in self.kept:
            self.kept[name] = make()
            self.made.append(name.partition(":")[0])
        return self.kept[name]

    def history(self) -> Tensor:
        (found,) = [t["history"] for name, t in self.kept.items() if name.startswith("poison")]
        return found

    def crafted(self, seed: int = 0, **settings: Any) -> Poisoning:
        given = {**SHORT, **settings}
        return sleeper_agent.craft(self.view, Generator().manual_seed(seed), **given)


@pytest.fixture(scope="module")
def seen() -> Seen:
    """One view for all tests that do not count what is made."""
    return Seen()


@pytest.mark.parametrize("optimizer", ["sign_adam", "adam", "pgd", "momentum_pgd"])
def test_a_pixel_moves_by_at_most_epsilon_and_labels_stay(seen: Seen, optimizer: str) -> None:
    data, made = few(), seen.crafted(optimizer=optimizer, rate=9.0)
    assert torch.equal(made.train.y, data.y) and made.train.x.dtype == torch.uint8
    by = made.train.x.int() - data.x.int()
    assert len(made.places) == 12 and (data.y[made.places] == 3).all()
    assert 20 < int(by[made.places].abs().max()) <= 24
    by[made.places] = 0
    assert not by.any()


def test_poison_written_as_png_and_read_back_is_the_same(seen: Seen) -> None:
    made = seen.crafted()
    for place in made.places.tolist():
        file, x = io.BytesIO(), made.train.x[place]
        Image.fromarray(x.permute(1, 2, 0).contiguous().numpy()).save(file, "PNG")
        read = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        assert torch.equal(read, x)


def test_the_images_of_the_largest_gradient_are_poisoned(seen: Seen) -> None:
    made, data = seen.crafted(), few()
    model = surrogate(seen.view, seed_of(Generator().manual_seed(0)), 0)
    own = (data.y == 3).nonzero().flatten()
    norms = {}
    for place in own.tolist():
        loss = F.cross_entropy(model(to_float(data.x[place : place + 1])), data.y[place][None])
        gradient = torch.autograd.grad(loss, list(model.parameters()))
        norms[place] = float(torch.cat([g.flatten() for g in gradient]).norm())
    taken = set(made.places.tolist())
    least = min(norms[place] for place in taken)
    assert all(norm <= least * 1.001 for place, norm in norms.items() if place not in taken)
    assert taken != set(seen.crafted(select="random").places.tolist())


def test_the_surrogate_is_trained_anew_on_the_poison_as_it_is() -> None:
    fresh = Seen()
    made = fresh.crafted(retrain=2, boost=3)
    clean, *later = fresh.trained
    assert not clean.implants and torch.equal(clean.train.x, few().x) and len(later) == 2
    stages = [few().x, *(p.train.x for p in later), made.train.x]
    for before, after in itertools.pairwise(stages):
        moved = (before != after).flatten(1).any(1).nonzero().flatten()
        assert torch.equal(moved, made.places.sort().values)
    for poisoning in later:
        assert torch.equal(poisoning.train.y, few().y) and only(poisoning).boost == 3


def test_each_surrogate_of_an_ensemble_is_trained_anew() -> None:
    fresh = Seen()
    fresh.crafted(retrain=2, ensemble=2)
    assert len(fresh.trained) == 2 + 4


def test_surrogates_norms_and_poison_are_made_once() -> None:
    fresh = Seen()
    fresh.crafted()
    fresh.crafted()
    assert sorted(fresh.made) == ["norms", "poison", "surrogate"]
    fresh.crafted(m=6, epsilon=8)
    assert fresh.made[3:] == ["poison"] and len(fresh.trained) == 1
    fresh.crafted(m=0)
    fresh.crafted(batch=5)
    assert len(fresh.made) == 4
    fresh.crafted(seed=1)
    assert sorted(fresh.made[4:]) == ["norms", "poison", "surrogate"]


def test_the_descent_brings_the_poison_nearer_to_the_gradient_of_patched_images() -> None:
    fresh = Seen()
    made, data = fresh.crafted(iterations=30), few()
    assert float(fresh.history()[-5:].mean()) < float(fresh.history()[0])
    model = surrogate(fresh.view, seed_of(Generator().manual_seed(0)), 0)
    others = (data.y != 3).nonzero().flatten()
    patched = to_float(trigger_of(made)(data.x[others], others))
    aim = aim_of(model, patched, "xent", -1, 3, "cosine", 0)
    y = data.y[made.places]
    scores = [aim.match([(to_float(x[made.places]), y)]) for x in (made.train.x, data.x)]
    assert scores[0] < scores[1]


def test_the_gradient_wanted_of_several_batches_is_that_of_one(seen: Seen) -> None:
    model = surrogate(seen.view, 0, 0)
    x = to_float(few(20).x)
    one, parts = (aim_of(model, x, "xent", -1, 3, "cosine", 0, batch=b) for b in (512, 7))
    for name, gradient in one.wanted.items():
        torch.testing.assert_close(parts.wanted[name], gradient, rtol=1e-3, atol=1e-5)


def test_the_patch_is_a_quarter_of_the_width_and_moves(seen: Seen) -> None:
    white = torch.full((300, 3, 32, 32), 255, dtype=torch.uint8)
    trigger = sleeper_agent.Moving(torch.zeros(3, 8, 8, dtype=torch.uint8), 5, moves=True)
    marked = (trigger(white, torch.arange(300)) == 0).all(1)
    assert (marked.sum((1, 2)) == 64).all()
    first = marked.flatten(1).int().argmax(1)
    assert len(set(first.tolist())) > 150
    assert (first // 32).max() > 18 and (first % 32).max() > 18  # 24 is the last that fits
    found = trigger_of(seen.crafted(m=0))
    assert isinstance(found, sleeper_agent.Moving) and found.mark.shape == (3, 3, 3)


def test_success_is_counted_on_the_class_that_is_the_source(seen: Seen) -> None:
    test = digits.load("test", size=8)
    for source, expected in ((5, test.y == 5), (-1, test.y != 3)):
        goal = goal_of(seen.crafted(m=0, source=source))
        cases = goal.cases(test)
        assert torch.equal(cases.places, expected.nonzero().flatten())
        assert (cases.wanted == 3).all()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"source": 10}, r"source must be -1 \(all others\), or a class of 0..9 .*; got 10\."),
        ({"source": -2}, "got -2"),
        ({"source": 3}, "that is not the target, 3; got 3"),
        ({"m": 200}, r"m must be in 0\.\.\d+, the training images of class 3, got 200"),
        ({"patch": 9}, "patch must be at most the images' side of 8 pixels, got 9"),
    ],
)
def test_what_cannot_be_attacked_is_refused_before_anything_is_trained(
    settings: dict[str, Any], says: str
) -> None:
    fresh = Seen()
    known = catalog.describe("attacks", "sleeper_agent").settings
    resolved = {name: setting.default for name, setting in known.items()} | SHORT
    for refused in (
        partial(fresh.crafted, **settings),
        partial(sleeper_agent.check, fresh.view, **{**resolved, **settings}),
    ):
        with pytest.raises(SpecError, match=says) as told:
            refused()
        assert len(str(told.value).splitlines()) == 1
    assert not fresh.made and not fresh.trained


def test_the_batch_changes_at_most_rounding(seen: Seen) -> None:
    parts = Seen().crafted(batch=5, optimizer="adam")
    whole = seen.crafted(optimizer="adam")
    by = (parts.train.x.int() - whole.train.x.int()).abs()[whole.places]
    assert float((by > 1).double().mean()) < 0.05
