"""Refool: the ghost of the image itself."""

from typing import Any

import pytest
import torch
from planted import trigger_of
from torch import Generator, Tensor

from trials.attacks import refool
from trials.spec import SpecError
from trials.types import Images, Poisoning


def images(size: int = 32) -> Images:
    x = torch.randint(0, 256, (40, 3, size, size), generator=Generator().manual_seed(3)).to(
        torch.uint8
    )
    return Images(x, torch.arange(40) % 4, 4)


def poisoned(size: int = 32, **settings: Any) -> Poisoning:
    return refool.poison(images(size), Generator().manual_seed(0), **{"m": 5, **settings})


def ghosted(x: Tensor, **settings: Any) -> Tensor:
    return trigger_of(poisoned(x.shape[-1], **settings))(x, torch.arange(len(x)))


@pytest.mark.parametrize("size", [16, 32, 45])
@pytest.mark.parametrize("first", [0.0, 0.5, 0.8])
def test_an_image_of_one_shade_stays_as_it_is(size: int, first: float) -> None:
    shades = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 3, size, size)
    assert torch.equal(ghosted(shades, first=first), shades)


def test_at_intensity_zero_every_image_stays_as_it_is() -> None:
    x = torch.cat([images().x, torch.arange(256).to(torch.uint8).repeat(12).reshape(1, 3, 32, 32)])
    assert torch.equal(ghosted(x, alpha=0.0), x)


def test_half_the_intensity_lies_between_none_and_full() -> None:
    x, full, half = (
        images().x.int(),
        ghosted(images().x).int(),
        ghosted(images().x, alpha=0.5).int(),
    )
    assert (half >= torch.minimum(x, full)).all() and (half <= torch.maximum(x, full)).all()
    assert (half != x).double().mean() > 0.9 and (half != full).double().mean() > 0.9


def test_a_white_spot_becomes_two_to_the_lower_right_and_light_is_shared_by_their_weights() -> None:
    x = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    x[..., 30:33, 30:33] = 255
    light = (ghosted(x, offset=8, first=0.75)[0, 0].double() / 255) ** 2.2
    # The part from pixel 8 on is stretched from 56 to 64 pixels: the copies lie at (30 - 8) and (30
    # - 8 + 8).
    at = [round((31.5 - 8) * 64 / 56), round((31.5 - 8 + 8) * 64 / 56)]
    first, second = (light[c - 5 : c + 4, c - 5 : c + 4] for c in at)
    assert float(first.sum() / second.sum()) == pytest.approx(3, rel=0.1)
    assert float(first.sum() + second.sum()) == pytest.approx(float(light.sum()), rel=0.02)
    assert float(light.sum()) == pytest.approx(9 * (64 / 56) ** 2, rel=0.1)
    assert light[at[0], at[1]] < 0.01  # moved along the diagonal


def test_overshooting_of_the_resizing_gives_neither_holes_nor_wrapped_values() -> None:
    x = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    x[..., 16:, :] = 255
    out = ghosted(x)[0, 0]
    assert (out[:13] == 0).all() and (out[18:] == 255).all() and (out[14:18, 3] > 100).all()


@pytest.mark.parametrize(("size", "offset"), [(16, 1), (32, 3), (64, 6)])
def test_the_offset_grows_with_the_image(size: int, offset: int) -> None:
    x = images(size).x
    assert torch.equal(ghosted(x), ghosted(x, offset=offset))
    assert not torch.equal(ghosted(x), ghosted(x, offset=offset + 1))


def test_labels_are_changed_only_on_request() -> None:
    data = images()
    clean, changed = poisoned(target=1), poisoned(target=1, clean_label=False)
    assert torch.equal(clean.train.y, data.y) and (data.y[clean.places] == 1).all()
    assert (data.y[changed.places] != 1).all() and (changed.train.y[changed.places] == 1).all()


def test_refuses_an_offset_as_large_as_the_image() -> None:
    assert ghosted(images().x, offset=31).shape == (40, 3, 32, 32)
    with pytest.raises(SpecError, match="less than the images' side of 32 pixels, got 32"):
        poisoned(offset=32)
