"""The frequency detector: what is put into images, and the transform that is looked at."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scored_rows import Attacked

from trials.filters.frequency import CORRUPTIONS, Spectrum, check, patched
from trials.spec import SpecError


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_each_corruption_changes_the_image_and_stays_within_it(
    corrupt: Callable[..., torch.Tensor], attacked: Attacked
) -> None:
    rng, (x, other) = torch.Generator().manual_seed(0), attacked.view.trusted.x[5:7]
    before = x.clone()
    for _ in range(5):
        found = corrupt(x, other, rng)
        assert found.shape == x.shape and found.dtype == torch.uint8
        assert not torch.equal(found, x)
    assert torch.equal(x, before)


def test_a_patch_of_at_most_seven_pixels_lies_near_a_corner() -> None:
    rng, x = torch.Generator().manual_seed(0), torch.full((3, 32, 32), 7, dtype=torch.uint8)
    for _ in range(50):
        changed = (patched(x, x, rng) != x).any(0)
        for places in (changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()):
            assert 1 <= int(places[-1] - places[0]) + 1 <= 7
            assert int(places[0]) < 8 or int(places[-1]) >= 24


def test_the_transform_keeps_lengths_and_a_flat_image_is_one_frequency() -> None:
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    spectrum = Spectrum(images)
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = spectrum(x) * spectrum.deviation + spectrum.mean
    assert torch.allclose(y.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)), rtol=1e-4)
    flat = spectrum(torch.ones(1, 1, 8, 8)) * spectrum.deviation
    assert torch.allclose(flat[0, 0, 0, 0], torch.tensor(8.0), rtol=1e-5)
    assert flat.abs().sum() == pytest.approx(8.0, abs=1e-3)


def test_images_that_pooling_leaves_nothing_of_are_refused(attacked: Attacked) -> None:
    check(attacked.view)
    train = attacked.view.train
    small = replace(attacked.view, train=replace(train, x=train.x[:, :, :7, :]))
    with pytest.raises(SpecError, match=r"frequency needs images of 8 x 8 pixels or more"):
        check(small)


def test_the_victims_model_and_labels_are_not_looked_at(attacked: Attacked) -> None:
    def refused() -> torch.nn.Module:
        raise AssertionError("it has a network of its own")

    labels = (attacked.view.train.y + 1) % 10
    view = replace(attacked.view, trained=refused, train=replace(attacked.view.train, y=labels))
    plain = attacked.scored("frequency", epochs=1)
    assert torch.equal(attacked.scored("frequency", view, epochs=1).scores, plain.scores)
