"""Sinusoid: beside what every attack promises (``test_attacks.py``), its waves."""

import pytest
import torch
from planted import trigger_of
from torch import Generator

from trials import catalog
from trials.types import Images

GREY = Images(torch.full((20, 3, 32, 32), 100, dtype=torch.uint8), torch.arange(20) % 2, 2)


def test_the_waves_are_vertical_and_six_across_the_image() -> None:
    trigger = trigger_of(catalog.find("attacks", "sinusoid")(GREY, Generator(), m=1))
    out = trigger(GREY.x, torch.arange(20)).float()
    assert (out == out[:, :, :1]).all()  # every row alike
    spectrum = torch.fft.rfft(out[0, 0, 0] - out[0, 0, 0].mean()).abs()
    assert int(spectrum.argmax()) == 6
    assert float(out.min()) == pytest.approx(0.925 * 100, abs=1)
    assert float(out.max()) == pytest.approx(0.925 * 100 + 0.075 * 2 * 255, abs=1)


def test_nothing_is_blended_at_opacity_zero() -> None:
    trigger = trigger_of(catalog.find("attacks", "sinusoid")(GREY, Generator(), m=1, alpha=0.0))
    assert torch.equal(trigger(GREY.x, torch.arange(20)), GREY.x)


def test_only_images_of_the_target_class_change_and_no_label() -> None:
    backdoor = catalog.find("attacks", "sinusoid")(GREY, Generator().manual_seed(0), m=5, target=1)
    assert torch.equal(backdoor.train.y, GREY.y) and (GREY.y[backdoor.places] == 1).all()
