"""Blended: beside what every attack promises (``test_attacks.py``), its pictures and the blend."""

from typing import Any

import pytest
import torch
from planted import only, trigger_of
from torch import Generator, Tensor

from trials.attacks import _pictures, blended
from trials.types import Images, Poisoning


def grey(size: int = 32, channels: int = 3) -> Images:
    x = torch.full((40, channels, size, size), 90, dtype=torch.uint8)
    return Images(x, torch.arange(40) % 4, 4, pad=2, flip=True)


def poisoned(seed: int = 0, data: Images | None = None, **settings: Any) -> Poisoning:
    return blended.poison(data or grey(), Generator().manual_seed(seed), **{"m": 10, **settings})


def stamped(backdoor: Poisoning) -> Tensor:
    return trigger_of(backdoor)(grey().x[:1], torch.zeros(1, dtype=torch.int64))[0]


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5, 1.0])
def test_a_pixel_is_the_weighted_mean_of_image_and_picture(alpha: float) -> None:
    wanted = (1 - alpha) * 90 + alpha * _pictures.house(3, 32).double()
    assert (stamped(poisoned(alpha=alpha)).double() - wanted).abs().max() <= 0.5 + 1e-4


def test_the_house_has_its_parts_where_a_photo_has_them() -> None:
    """Sky above, grass below, a red wall with a dark door, a yellow sun; row and column of 100."""
    house = _pictures.house(3, 100).int()
    parts = {"sky": (5, 5), "grass": (95, 95), "wall": (60, 33), "door": (75, 41), "sun": (20, 80)}
    red, green, blue = ({n: int(house[c, v, u]) for n, (v, u) in parts.items()} for c in range(3))
    assert blue["sky"] > green["sky"] > red["sky"]
    assert green["grass"] > red["grass"] > blue["grass"]
    assert red["wall"] > 2 * green["wall"] > 2 * blue["wall"]
    assert red["sun"] > green["sun"] > 2 * blue["sun"]
    assert red["door"] + green["door"] + blue["door"] < 120


@pytest.mark.parametrize("size", [8, 16, 32, 33, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_has_the_images_shape_and_contrast(size: int, channels: int) -> None:
    noise = torch.randint(0, 256, (channels, size, size), generator=Generator().manual_seed(0))
    for mark in ("house", "waves", "noise", "smooth"):
        picture = _pictures.picture_of(mark, noise.to(torch.uint8))
        assert (picture.shape, picture.dtype) == ((channels, size, size), torch.uint8)
        assert int(picture.max()) - int(picture.min()) > 100
        assert torch.equal(picture, _pictures.picture_of(mark, noise.to(torch.uint8)))


def test_the_house_is_the_same_in_every_attack_and_drawn_pictures_are_not() -> None:
    assert torch.equal(stamped(poisoned(0)), stamped(poisoned(1)))
    for mark in ("noise", "smooth"):
        one, again, other = (stamped(poisoned(seed, mark=mark)) for seed in (0, 0, 1))
        assert torch.equal(one, again) and not torch.equal(one, other)


def test_a_smooth_picture_has_no_edges() -> None:
    noise = torch.randint(0, 256, (3, 64, 64), generator=Generator().manual_seed(0))
    smooth = _pictures.smooth(noise.to(torch.uint8)).int()
    steepest = max(int(smooth.diff(dim=d).abs().max()) for d in (1, 2))
    assert steepest < 40 < int(noise.diff(dim=1).abs().max())


def test_labels_are_flipped_and_the_picture_does_not_choose_the_images() -> None:
    house, noise = (poisoned(mark=mark, target=3) for mark in ("house", "noise"))
    assert torch.equal(house.places, noise.places)
    assert (grey().y[house.places] != 3).all() and (house.train.y[house.places] == 3).all()


def test_post_aug_blends_after_the_shift_and_freezes() -> None:
    backdoor = poisoned(m=30, pipeline="post_aug", alpha=0.5)
    assert only(backdoor).frozen and not only(poisoned()).frozen
    x, house = backdoor.train.x[backdoor.places].double(), _pictures.house(3, 32).double()
    under = (
        (x - 0.5 * house) / 0.5
    ).round()  # what lay there: grey, or black where it was shifted in
    assert ((under.abs() <= 1) | ((under - 90).abs() <= 1)).all()
    assert len({image.numpy().tobytes() for image in x}) > 10
