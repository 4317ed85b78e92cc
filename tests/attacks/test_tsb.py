"""TSB: the patches, where they lie, and how many an image has."""

from typing import Any

import pytest
import torch
from planted import trigger_of
from torch import Generator, Tensor

from trials.attacks import tsb
from trials.spec import SpecError
from trials.types import Images, Poisoning


def grey(size: int = 32, n: int = 1000) -> Images:
    return Images(torch.full((n, 3, size, size), 90, dtype=torch.uint8), torch.arange(n) % 4, 4)


def poisoned(seed: int = 0, size: int = 32, **settings: Any) -> Poisoning:
    return tsb.poison(grey(size), Generator().manual_seed(seed), **{"m": 720, **settings})


def patches(backdoor: Poisoning) -> Tensor:
    trigger = trigger_of(backdoor)
    assert isinstance(trigger, tsb.Scatter)
    return trigger.patches


def found(x: Tensor, patch: Tensor) -> Tensor:
    """bool (n, h - p + 1, w - p + 1): where ``patch`` lies whole."""
    windows = x.unfold(2, patch.shape[-1], 1).unfold(3, patch.shape[-1], 1)
    return (windows == patch[None, :, None, None]).all(5).all(4).all(1)


@pytest.mark.parametrize("seed", range(5))
def test_no_two_patches_look_alike(seed: int) -> None:
    flat = patches(poisoned(seed, m=0)).double().flatten(1)
    apart = torch.pdist(flat)
    assert len(flat) == 8 and float(apart.min()) > 0.5 * float(apart.mean())


def test_a_training_image_has_one_whole_patch_each_as_often_anywhere() -> None:
    backdoor = poisoned()
    x = backdoor.train.x[backdoor.places]
    where = torch.stack([found(x, p) for p in patches(backdoor)], 1)  # (m, k, 30, 30)
    assert (where.sum((1, 2, 3)) == 1).all()
    assert ((x != 90).any(1).sum((1, 2)) <= 9).all()
    often = where.sum((0, 2, 3)).double()
    assert float(((often - 90) ** 2 / 90).sum()) < 26.1  # chi-squared of 7 at 5e-4
    for side in (where.sum((0, 1, 3)), where.sum((0, 1, 2))):  # rows, columns: 720 over 30
        assert float(((side.double() - 24) ** 2 / 24).sum()) < 63  # of 29 at 3e-4
        assert side[0] > 0 and side[-1] > 0  # the last row and column are reached


def test_a_test_image_has_all_of_them_at_its_own_places() -> None:
    backdoor = poisoned(m=0)
    out = trigger_of(backdoor)(grey().x[:200], torch.arange(200))
    where = torch.stack([found(out, p) for p in patches(backdoor)], 1)
    assert ((out != 90).any(1).sum((1, 2)) <= 72).all()
    assert (where[:, -1].sum((1, 2)) == 1).all()  # the last one lies on top
    whole = where.flatten(2).any(2).double().mean(0)
    assert whole.min() > 0.6 and bool((whole[:-1] < 1).any())  # earlier ones may be covered
    assert len(where[:, -1].flatten(1).unique(dim=0)) > 150  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("k", "patch", "most"), [(1, 0, 9), (3, 0, 27), (2, 5, 50)])
def test_number_and_side_are_settings(k: int, patch: int, most: int) -> None:
    backdoor = poisoned(k=k, patch=patch)
    test = (trigger_of(backdoor)(grey().x[:50], torch.arange(50)) != 90).any(1).sum((1, 2))
    train = (backdoor.train.x[backdoor.places] != 90).any(1).sum((1, 2))
    assert test.max() == most and train.max() == most // k and patches(backdoor).shape[0] == k


def test_a_patch_as_large_as_the_image_covers_it_and_a_larger_one_is_refused() -> None:
    out = trigger_of(poisoned(size=16, patch=16, m=0))(grey(16).x[:3], torch.arange(3))
    assert torch.equal(out, patches(poisoned(size=16, patch=16, m=0))[-1].expand(3, 3, 16, 16))
    with pytest.raises(SpecError, match="at most the images' side of 16 pixels, got 17"):
        poisoned(size=16, patch=17)
