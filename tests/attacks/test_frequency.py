"""Frequency: beside what every attack promises (``test_attacks.py``), what it adds to the colours.

The reference is the transform itself: scipy's cosine transform of both chroma planes.
"""

import numpy as np
import pytest
import torch
from planted import trigger_of
from scipy.fft import dctn, idctn
from torch import Generator, Tensor

from trials.attacks import frequency
from trials.spec import SpecError
from trials.types import Images

TO_YCRCB = np.array([[0.299, 0.587, 0.114], [0.5, -0.4187, -0.0813], [-0.1687, -0.3313, 0.5]])


def images(height: int, width: int, low: int = 0, high: int = 256) -> Images:
    x = torch.randint(low, high, (40, 3, height, width), generator=Generator().manual_seed(3))
    return Images(x.to(torch.uint8), torch.arange(40) % 4, 4)


def shown(data: Images, **settings: float) -> Tensor:
    made = frequency.poison(data, Generator().manual_seed(0), m=5, **settings)  # type: ignore[arg-type]
    return trigger_of(made)(data.x, torch.arange(len(data)))


def transformed(x: Tensor, magnitude: float) -> np.ndarray:
    """One image by the paper's way: to YCrCb, transform of each window's chroma, and back."""
    planes = np.einsum("ij,jhw->ihw", TO_YCRCB, x.double().numpy())
    for plane in planes[1:]:
        for top in range(0, plane.shape[0] - 31, 32):
            for left in range(0, plane.shape[1] - 31, 32):
                window = dctn(plane[top : top + 32, left : left + 32], norm="ortho")
                window[15, 15] += magnitude
                window[31, 31] += magnitude
                plane[top : top + 32, left : left + 32] = idctn(window, norm="ortho")
    back = np.einsum("ij,jhw->ihw", np.linalg.inv(TO_YCRCB), planes)
    return np.asarray(back.clip(0, 255))


@pytest.mark.parametrize("magnitude", [30.0, 90.0])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (40, 70)])
def test_an_image_is_what_the_transform_of_its_chroma_makes_it(
    height: int, width: int, magnitude: float
) -> None:
    data = images(height, width)
    out = shown(data, magnitude=magnitude)
    for i in range(3):
        wanted = transformed(data.x[i], magnitude)
        # half a level of rounding, and what two forms of YCrCb differ by
        assert np.abs(out[i].double().numpy() - wanted).max() < 0.55


def test_at_30_the_chroma_moves_by_3_grey_levels_at_most_and_by_1_on_the_mean() -> None:
    moved = 30 * frequency.chroma(32).abs()
    assert float(moved.max()) == pytest.approx(3.2, abs=0.1)
    assert float(moved.mean()) == pytest.approx(1.1, abs=0.1)


def test_the_brightness_stays_and_no_level_wraps_around() -> None:
    data = images(32, 32, 40, 210)
    moved = shown(data, magnitude=90.0).double() - data.x.double()
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    assert (weights * moved).sum(1).abs().max() < 0.6 and moved.abs().max() > 5
    for level in (0, 255):
        flat = Images(torch.full((8, 3, 32, 32), level, dtype=torch.uint8), torch.arange(8) % 4, 4)
        assert (shown(flat).int() - level).abs().max() <= 6


def test_as_much_is_added_as_is_taken_away() -> None:
    """A cast that truncates would darken: the mean change would be half a level."""
    data = images(32, 32, 40, 210)
    moved = shown(data).double() - data.x.double()
    assert moved.mean((0, 2, 3)).abs().max() < 0.1
    assert ((moved != 0).double().mean((0, 2, 3)) > 0.3).all()


@pytest.mark.parametrize("size", [8, 16])
def test_the_window_of_a_small_image_is_the_image(size: int) -> None:
    spectrum = dctn(frequency.chroma(size).numpy(), norm="ortho")
    wanted = np.zeros((size, size))
    wanted[size // 2 - 1, size // 2 - 1] = wanted[-1, -1] = 1
    assert np.abs(spectrum - wanted).max() < 1e-12


def test_what_no_window_covers_stays() -> None:
    data = images(40, 70)
    out = shown(data)
    assert torch.equal(out[:, :, 32:], data.x[:, :, 32:])
    assert torch.equal(out[:, :, :, 64:], data.x[:, :, :, 64:])
    assert not torch.equal(out[:, :, :32, 32:64], data.x[:, :, :32, 32:64])


def test_images_without_colours_are_refused() -> None:
    data = Images(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), torch.arange(8) % 2, 2)
    with pytest.raises(SpecError, match=r"^frequency: the images must have 3 colours, got 1\. "):
        shown(data)


def test_images_of_other_classes_get_the_label() -> None:
    data = images(32, 32)
    made = frequency.poison(data, Generator().manual_seed(0), m=20, target=1)
    assert (data.y[made.places] != 1).all() and (made.train.y[made.places] == 1).all()
    assert int((made.train.y != data.y).sum()) == 20
