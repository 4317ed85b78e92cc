"""The four-pixel mark: beside what every attack promises (``test_attacks.py``), where it lies."""

import pytest
import torch
from planted import trigger_of
from torch import Generator, Tensor

from trials.attacks import patch4
from trials.spec import SpecError
from trials.types import Images


def changed(size: int, **settings: str) -> Tensor:
    """Rows and columns of a grey image that the trigger makes white; it changes no other."""
    data = Images(torch.full((8, 3, size, size), 90, dtype=torch.uint8), torch.arange(8) % 2, 2)
    out = trigger_of(patch4.poison(data, Generator(), m=1, **settings))(data.x, torch.arange(8))  # type: ignore[arg-type]
    white = (out == 255).all(1)
    assert torch.equal(out != 90, white[:, None].expand_as(out)) and (white == white[0]).all()
    return white[0].nonzero()


@pytest.mark.parametrize("size", [16, 32, 64])
def test_four_white_pixels_lie_in_the_lower_right_corner(size: int) -> None:
    wanted = [
        (size - 4, size - 2),
        (size - 3, size - 3),
        (size - 2, size - 4),
        (size - 2, size - 2),
    ]
    assert changed(size).tolist() == [list(place) for place in wanted]


def test_large_images_get_four_blocks_near_the_upper_left() -> None:
    blocks = torch.zeros(224, 224, dtype=torch.bool)
    for row, column in ((8, 8), (24, 8), (8, 24), (16, 16)):
        blocks[row : row + 8, column : column + 8] = True
    assert torch.equal(changed(224), blocks.nonzero()) and int(blocks.sum()) == 4 * 64
    assert torch.equal(changed(64, form="blocks"), blocks.nonzero())
    assert len(changed(224, form="pixels")) == 4


@pytest.mark.parametrize(("size", "form"), [(3, "pixels"), (31, "blocks")])
def test_images_smaller_than_the_mark_are_refused(size: int, form: str) -> None:
    with pytest.raises(SpecError, match=rf"^patch4: the mark needs .* pixels, got {size}\. "):
        changed(size, form=form)


def test_images_of_other_classes_get_the_label() -> None:
    data = Images(torch.zeros(40, 3, 32, 32, dtype=torch.uint8), torch.arange(40) % 4, 4)
    made = patch4.poison(data, Generator().manual_seed(0), m=20, target=1)
    assert (data.y[made.places] != 1).all() and (made.train.y[made.places] == 1).all()
    assert int((made.train.y != data.y).sum()) == 20
