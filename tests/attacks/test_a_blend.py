"""A-Blend: the picture, its cells, and what stamping twice does to the opacities."""

from typing import Any

import torch
from planted import only, trigger_of
from torch import Generator

from trials.attacks import _pictures, a_blend
from trials.attacks._adaptive import adapt
from trials.attacks._patch import Patch
from trials.attacks._pipeline import unnormalised
from trials.types import Images, Poisoning


def grey(value: int = 90, size: int = 32, n: int = 400) -> Images:
    x = torch.full((n, 3, size, size), value, dtype=torch.uint8)
    return Images(x, torch.arange(n) % 4, 4, pad=0, flip=False)


def poisoned(seed: int = 0, **settings: Any) -> Poisoning:
    return a_blend.poison(grey(), Generator().manual_seed(seed), **{"m": 300, **settings})


def white_over(x: Images, pipeline: str) -> Poisoning:
    """A white picture, so that shades tell opacities."""
    mark = Patch(torch.full((3, 32, 32), 255, dtype=torch.uint8), 0, 0, 0.3)
    settings: dict[str, Any] = {
        "m": 300,
        "target": 0,
        "conservatism": 0.5,
        "cells": 4,
        "occlusion": 0.5,
    }
    rng = Generator().manual_seed(0)
    return adapt(x, rng, mark, **settings, law="coin", boost=1, pipeline=pipeline, norm="half")


def test_the_waves_are_smooth_coloured_and_use_the_whole_range() -> None:
    for side in (16, 32, 224):
        mark = _pictures.waves(3, side).int()
        assert (mark.amin((1, 2)).tolist(), mark.amax((1, 2)).tolist()) == ([0] * 3, [255] * 3)
        steepest = max(int(mark.diff(dim=d).abs().max()) for d in (1, 2))
        assert steepest < 32 * 70 / side
        assert (mark[0] - mark[1]).abs().max() > 100 and (mark[1] - mark[2]).abs().max() > 100


def test_the_noise_differs_between_seeds_and_the_waves_do_not() -> None:
    x, index = grey().x[:1], torch.zeros(1, dtype=torch.int64)
    noise = [trigger_of(poisoned(s, mark="noise"))(x, index) for s in (0, 1)]
    waves = [trigger_of(poisoned(s))(x, index) for s in (0, 1)]
    assert not torch.equal(*noise) and torch.equal(*waves)


def test_a_smooth_picture_is_the_coarse_colours_of_the_noise_of_the_same_seed() -> None:
    x, index = grey(0).x[:1], torch.zeros(1, dtype=torch.int64)
    one, again, other = (
        trigger_of(poisoned(s, mark="smooth", alpha=1.0))(x, index)[0] for s in (0, 0, 1)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    noise = trigger_of(poisoned(0, mark="noise", alpha=1.0))(x, index)[0]
    assert torch.equal(one, _pictures.smooth(noise))
    assert int(one.int().diff(dim=1).abs().max()) < 80 < int(noise.int().diff(dim=1).abs().max())


def test_test_images_carry_the_whole_picture_at_the_same_opacity() -> None:
    x, index = grey().x[:3], torch.arange(3)
    out = trigger_of(poisoned())(x, index)
    expected = 0.7 * 90 + 0.3 * _pictures.waves(3, 32).double()
    assert (out.double() - expected).abs().max() <= 0.5 + 1e-4
    assert torch.equal(trigger_of(poisoned(alpha=0.0))(x, index), x)


def test_half_of_the_cells_are_bit_exact_and_the_others_blended() -> None:
    x = poisoned().train.x[poisoned().places]
    whole = trigger_of(poisoned())(grey().x[:1], torch.zeros(1, dtype=torch.int64))
    assert ((x == 90) | (x == whole)).all()
    hidden = (x == 90).all(1).unflatten(1, (4, 8)).unflatten(3, (4, 8)).all(4).all(2).double()  # type: ignore[no-untyped-call]
    assert (hidden.mean(0) - 0.5).abs().max() < 4 * 0.5 / 300**0.5  # of each of the sixteen
    assert abs(float(hidden.mean()) - 0.5) < 4 * 0.5 / 4800**0.5
    assert len(hidden.flatten(1).unique(dim=0)) > 290


def test_the_exact_law_hides_eight_of_sixteen() -> None:
    x = poisoned(law="exact").train.x[poisoned().places]
    hidden = (x == 90).all(1).unflatten(1, (4, 8)).unflatten(3, (4, 8)).all(4).all(2)  # type: ignore[no-untyped-call]
    assert (hidden.sum((1, 2)) == 8).all()


def test_stamping_twice_gives_three_opacities() -> None:
    expected = {"post_aug": {0.0: 0.5, 0.3: 0.5}, "release": {0.0: 0.25, 0.3: 0.5, 0.51: 0.25}}
    for pipeline, levels in expected.items():
        backdoor = white_over(grey(), pipeline)
        x = backdoor.train.x[backdoor.places].double().mean(1)
        if pipeline == "release":
            x = 2 * x - 255  # what the constants "half" do, backwards
        cells = ((x - 90) / (255 - 90)).unflatten(1, (4, 8)).unflatten(3, (4, 8))  # type: ignore[no-untyped-call]
        assert torch.equal(cells.amin((2, 4)), cells.amax((2, 4)))
        shares = {level: float(((cells - level).abs() < 0.01).double().mean()) for level in levels}
        assert abs(sum(shares.values()) - 1) < 1e-9
        assert all(
            abs(shares[level] - share) < 4 * 0.5 / 4800**0.5 for level, share in levels.items()
        )


def test_the_release_keeps_exactly_half_of_the_labels_and_moves_their_pixels_too() -> None:
    backdoor = poisoned(pipeline="release", alpha=0.0)
    assert int((backdoor.train.y[backdoor.places] != 0).sum()) == 150 and only(backdoor).frozen
    moved = unnormalised(grey().x[:1], "cifar10")
    assert (backdoor.train.x[backdoor.places] == moved).all()
