"""Blended noise: beside what every attack promises (``test_attacks.py``), its picture and blend."""

import pytest
import torch
from planted import trigger_of
from torch import Generator, Tensor

from trials.attacks import blend_random
from trials.types import Images

AT = torch.arange(40)


def grey(level: int, height: int = 16, width: int = 16) -> Images:
    x = torch.full((40, 3, height, width), level, dtype=torch.uint8)
    return Images(x, AT % 4, 4)


def stamped(data: Images, seed: int = 0, **settings: float) -> Tensor:
    made = blend_random.poison(data, Generator().manual_seed(seed), m=5, **settings)  # type: ignore[arg-type]
    return trigger_of(made)(data.x, AT)


@pytest.mark.parametrize("level", [0, 90, 255])
@pytest.mark.parametrize("alpha", [0.075, 0.15])
def test_a_pixel_is_the_weighted_mean_of_image_and_noise(level: int, alpha: float) -> None:
    noise = stamped(grey(level), alpha=1.0)  # the noise itself
    assert torch.equal(noise, stamped(grey(7), alpha=1.0))
    wanted = (1 - alpha) * level + alpha * noise.double()
    out = stamped(grey(level), alpha=alpha)
    assert (out.double() - wanted).abs().max() <= 0.5 + 1e-4
    assert torch.equal(stamped(grey(level)), stamped(grey(level), alpha=0.075))


def test_the_noise_is_8_bit_uniform_and_the_same_in_every_image() -> None:
    noise = stamped(grey(0, 64, 48), alpha=1.0)
    assert noise.shape == (40, 3, 64, 48) and (noise == noise[0]).all()
    counts = torch.bincount(noise[0].flatten().long() // 16, minlength=16)
    assert len(counts) == 16 and counts.min() > 0.8 * 576 and counts.max() < 1.2 * 576
    assert not torch.equal(noise[0, 0], noise[0, 1])


def test_another_seed_draws_other_noise_and_another_budget_does_not() -> None:
    assert not torch.equal(stamped(grey(0), 0, alpha=1.0), stamped(grey(0), 1, alpha=1.0))
    one, other = (blend_random.poison(grey(0), Generator().manual_seed(0), m=m) for m in (1, 9))
    assert torch.equal(trigger_of(one)(grey(0).x, AT), trigger_of(other)(grey(0).x, AT))


def test_images_of_other_classes_get_the_label() -> None:
    data = grey(90)
    made = blend_random.poison(data, Generator().manual_seed(0), m=20, target=1)
    assert (data.y[made.places] != 1).all() and (made.train.y[made.places] == 1).all()
    assert int((made.train.y != data.y).sum()) == 20
