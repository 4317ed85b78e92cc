"""WaNet: how far and where the warp moves pixels, read off ramps of brightness."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from planted import trigger_of
from torch import Generator, Tensor

from trials.attacks import wanet
from trials.types import Images, Poisoning


def images(size: int = 32) -> Images:
    x = torch.randint(0, 256, (40, 3, size, size), generator=Generator().manual_seed(3)).to(
        torch.uint8
    )
    return Images(x, torch.arange(40) % 4, 4)


def poisoned(seed: int = 0, size: int = 32, **settings: Any) -> Poisoning:
    return wanet.poison(images(size), Generator().manual_seed(seed), **{"m": 5, **settings})


def moves(backdoor: Poisoning, size: int = 32, index: int = 0) -> Tensor:
    """(2, size, size): by how many pixels each pixel's value came from the right and from below."""
    step = 255 // (size - 1)
    ramp = (step * torch.arange(size)).to(torch.uint8)
    x = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)])[None]
    out = trigger_of(backdoor)(x, torch.tensor([index]))
    return (out.double() - x.double())[0] / step


def mean_move(**settings: Any) -> float:
    return sum(float(moves(poisoned(s, **settings)).norm(dim=0).mean()) for s in range(10)) / 10


@pytest.mark.parametrize("size", [16, 32, 45, 224])
def test_at_strength_zero_every_image_stays_as_it_is(size: int) -> None:
    x = images(size).x[:4]
    assert torch.equal(trigger_of(poisoned(size=size, strength=0.0))(x, torch.arange(4)), x)


@pytest.mark.parametrize("settings", [{}, {"jitter": 1.0}])
def test_an_image_of_one_shade_stays_as_it_is(settings: dict[str, Any]) -> None:
    shades = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 3, 16, 16)
    assert torch.equal(trigger_of(poisoned(size=16, **settings))(shades, torch.arange(256)), shades)


@pytest.mark.parametrize(("strength", "grid", "pixels"), [(0.5, 4, 0.29), (1.5, 8, 0.92)])
def test_pixels_move_as_far_as_the_formula_says(strength: float, grid: int, pixels: float) -> None:
    """Half the strength times the length of the spread field; the numbers in pixels are its means
    over many seeds.
    """
    expected = 0.0
    for seed in range(10):
        p = (
            2
            * torch.rand(
                2, grid, grid, generator=Generator().manual_seed(seed), dtype=torch.float64
            )
            - 1
        )
        n = F.interpolate((p / p.abs().mean())[None], (32, 32), mode="bicubic", align_corners=True)[
            0
        ]
        expected += float(strength / 2 * n.norm(dim=0).mean()) / 10
    found = mean_move(strength=strength, grid=grid)
    assert found == pytest.approx(expected, rel=0.2) and found == pytest.approx(pixels, rel=0.2)


def test_the_move_in_pixels_does_not_depend_on_the_size() -> None:
    small, large = (float(moves(poisoned(size=s), s).norm(dim=0).mean()) for s in (16, 128))
    assert small == pytest.approx(large, rel=0.25)


def test_x_comes_before_y_and_a_positive_move_takes_from_the_right() -> None:
    controls = torch.zeros(2, 2, 2, dtype=torch.float64)
    controls[0] = 1.0
    warp = wanet.Warp(controls, 4.0, 0.0, 0)
    x = images().x
    out = warp(x, torch.arange(40)).int()
    by = 4 / 32 * 31 / 2  # pixels, 1.9375
    expected = (2 - by) * x[..., :, 1:-2].double() + (by - 1) * x[..., :, 2:-1].double()
    assert (out[..., :, :-3].double() - expected).abs().max() <= 0.5 + 1e-9


def test_the_outer_control_points_lie_on_the_images_edges() -> None:
    controls = torch.zeros(2, 4, 4, dtype=torch.float64)
    controls[0, :, 0] = 1.0
    ramp = (8 * torch.arange(31)).to(torch.uint8).expand(1, 3, 31, 31)
    moved = (
        wanet.Warp(controls, 8.0, 0.0, 0)(ramp, torch.zeros(1, dtype=torch.int64)).double() - ramp
    )[0, 0, 0] / 8
    assert (
        moved[[0, 10, 20, 30]] - torch.tensor([4 * 30 / 31, 0, 0, 0])
    ).abs().max() <= 0.5 / 8 + 1e-6
    assert moved[5] > 1


def test_the_warp_is_smooth_and_one_for_all_images() -> None:
    backdoor = poisoned()
    field = moves(backdoor)
    assert torch.equal(field, moves(backdoor, index=17))
    assert (
        max(float(field.diff(dim=d).abs().max()) for d in (1, 2))
        < 1.5
        < float(field.max() - field.min())
    )
    assert not torch.equal(field, moves(poisoned(1)))


def test_the_jitter_differs_between_images_and_is_as_large_as_asked() -> None:
    backdoor = poisoned(strength=0.0, jitter=1.0)
    one, other = moves(backdoor), moves(backdoor, index=1)
    inner = one[:, 2:-2, 2:-2]
    assert (one - other)[:, 2:-2, 2:-2].abs().mean() > 0.2
    assert float(inner.abs().max()) <= 0.5 + 0.07 and abs(float(inner.mean())) < 0.03
    assert float(inner.norm(dim=0).mean()) == pytest.approx(0.37, rel=0.1)
    assert torch.equal(one, moves(poisoned(strength=0.0, jitter=1.0)))


def test_nothing_comes_in_from_outside_the_image() -> None:
    x = torch.full((8, 3, 32, 32), 200, dtype=torch.uint8)
    assert torch.equal(trigger_of(poisoned(strength=40.0, jitter=5.0))(x, torch.arange(8)), x)


def test_labels_are_changed_only_on_request() -> None:
    data = images()
    clean, changed = poisoned(target=1), poisoned(target=1, clean_label=False)
    assert torch.equal(clean.train.y, data.y) and (data.y[clean.places] == 1).all()
    assert (data.y[changed.places] != 1).all() and (changed.train.y[changed.places] == 1).all()
