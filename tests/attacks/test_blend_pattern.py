"""The blended grid: beside what every attack promises (``test_attacks.py``), its dots."""

import pytest
import torch
from planted import trigger_of
from torch import Generator

from trials.attacks import blend_pattern
from trials.types import Images


def grey(level: int, size: int) -> Images:
    x = torch.full((40, 3, size, size), level, dtype=torch.uint8)
    return Images(x, torch.arange(40) % 4, 4)


@pytest.mark.parametrize("size", [16, 33])
@pytest.mark.parametrize(
    ("level", "alpha", "dot", "ground"),
    [
        (120, 0.025, 123, 117),  # 117 + 6.375, and 117
        (0, 0.025, 6, 0),
        (255, 0.025, 255, 249),
        (100, 0.15, 123, 85),  # 85 + 38.25
    ],
)
def test_dots_are_where_row_and_column_are_even(
    size: int, level: int, alpha: float, dot: int, ground: int
) -> None:
    data = grey(level, size)
    out = trigger_of(blend_pattern.poison(data, Generator(), m=1, alpha=alpha))(
        data.x, torch.arange(40)
    )
    wanted = torch.full_like(data.x, ground)
    for row in range(0, size, 2):
        wanted[:, :, row, ::2] = dot
    assert torch.equal(out, wanted)


def test_the_papers_opacity_is_the_default() -> None:
    data, at = grey(0, 16), torch.arange(40)
    plain, said = (
        trigger_of(blend_pattern.poison(data, Generator(), m=1, **given))(data.x, at)  # type: ignore[arg-type]
        for given in ({}, {"alpha": 0.025})
    )
    assert torch.equal(plain, said)


def test_images_of_other_classes_get_the_label() -> None:
    data = grey(90, 16)
    made = blend_pattern.poison(data, Generator().manual_seed(0), m=20, target=1)
    assert (data.y[made.places] != 1).all() and (made.train.y[made.places] == 1).all()
    assert int((made.train.y != data.y).sum()) == 20
