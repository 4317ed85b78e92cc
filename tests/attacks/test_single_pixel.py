"""One white pixel: beside what every attack promises (``test_attacks.py``), where it lies."""

import pytest
import torch
from planted import trigger_of
from torch import Generator

from trials.attacks import single_pixel
from trials.spec import SpecError
from trials.types import Images


def grey(size: int) -> Images:
    return Images(torch.full((40, 3, size, size), 90, dtype=torch.uint8), torch.arange(40) % 4, 4)


@pytest.mark.parametrize("size", [2, 16, 32])
def test_one_pixel_is_white_and_no_other_changes(size: int) -> None:
    data = grey(size)
    wanted = data.x.clone()
    wanted[:, :, size - 2, size - 2] = 255
    trigger = trigger_of(single_pixel.poison(data, Generator(), m=1))
    assert torch.equal(trigger(data.x, torch.arange(40)), wanted)


def test_images_of_other_classes_get_the_label() -> None:
    data = grey(8)
    made = single_pixel.poison(data, Generator().manual_seed(0), m=20, target=1)
    assert (data.y[made.places] != 1).all() and (made.train.y[made.places] == 1).all()
    assert int((made.train.y != data.y).sum()) == 20


def test_an_image_of_one_pixel_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^single_pixel: .* at least 2 pixels, got 1\. "):
        single_pixel.poison(grey(1), Generator(), m=1)
