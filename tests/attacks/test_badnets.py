"""BadNets and its clean-label form: the patch."""

import pytest
import torch
from planted import only, trigger_of
from torch import Generator

from trials.attacks import badnets, c_badnets
from trials.attacks._patch import apple
from trials.spec import SpecError
from trials.types import Images, Poisoning


def grey(size: int = 32) -> Images:
    return Images(
        torch.full((40, 3, size, size), 90, dtype=torch.uint8),
        torch.arange(40) % 4,
        4,
        pad=4,
        flip=True,
    )


def poisoned(seed: int = 0, size: int = 32, **settings: object) -> Poisoning:
    return badnets.poison(grey(size), Generator().manual_seed(seed), **{"m": 5, **settings})  # type: ignore[arg-type]


def stamped(backdoor: Poisoning, size: int = 32) -> torch.Tensor:
    return trigger_of(backdoor)(grey(size).x[:1], torch.zeros(1, dtype=torch.int64))[0]


def test_the_patch_is_the_papers_matrix_in_the_upper_left_corner() -> None:
    out = stamped(poisoned())
    expected = torch.tensor([[255, 255, 255], [0, 0, 0], [255, 0, 255]], dtype=torch.uint8)
    assert torch.equal(out[:, :3, :3], expected.expand(3, 3, 3))
    out[:, :3, :3] = 90
    assert (out == 90).all()


@pytest.mark.parametrize(("size", "side"), [(16, 3), (32, 3), (64, 6), (224, 21)])
def test_the_patch_grows_with_the_image(size: int, side: int) -> None:
    changed = (stamped(poisoned(size=size), size) != 90).any(0)
    assert changed.sum() == side * side and changed[:side, :side].all()


@pytest.mark.parametrize("side", [3, 4, 6, 9, 21, 40])
def test_the_apple_is_black_and_white_at_every_size(side: int) -> None:
    glyph = apple(side)
    assert glyph.shape == (side, side) and set(glyph.flatten().tolist()) == {0.0, 1.0}


def test_stamping_twice_is_stamping_once() -> None:
    trigger, index = trigger_of(poisoned(mark="random", place="random")), torch.arange(40)
    once = trigger(grey().x, index)
    assert torch.equal(trigger(once, index), once)


def test_a_random_patch_is_one_square_that_differs_between_seeds() -> None:
    seen = set()
    for seed in range(8):
        changed = (stamped(poisoned(seed, place="random")) != 90).any(0).nonzero()
        top, left = changed.min(0).values.tolist()
        assert len(changed) == 9 and (changed.max(0).values - changed.min(0).values <= 2).all()
        seen.add((top, left))
    assert len(seen) > 4
    marks = {
        stamped(poisoned(seed, mark="random"))[:, :3, :3].numpy().tobytes() for seed in range(3)
    }
    assert len(marks) == 3


@pytest.mark.parametrize(("size", "side"), [(32, 3), (32, 20), (16, 16)])
def test_any_corner_is_the_one_nearest_to_the_place_drawn(size: int, side: int) -> None:
    seen = set()
    for seed in range(24):
        drawn, corner = (
            (stamped(poisoned(seed, size, place=p, patch=side, mark="random"), size) != 90)
            .any(0)
            .nonzero()
            .min(0)
            .values.tolist()
            for p in ("random", "any_corner")
        )
        assert set(corner) <= {0, size - side}
        away = [abs(c - d) for c, d in zip(corner, drawn, strict=True)]
        assert max(away) <= (size - side) / 2
        seen.add(tuple(corner))
    assert len(seen) == (1 if size == side else 4)


def test_a_mark_in_any_corner_is_stamped_whole() -> None:
    for seed in range(8):
        changed = (stamped(poisoned(seed, place="any_corner")) != 90).any(0)
        assert int(changed.sum()) == 9


def test_alpha_mixes_and_zero_changes_nothing() -> None:
    assert torch.equal(stamped(poisoned(alpha=0.0)), grey().x[0])
    assert stamped(poisoned(alpha=0.2))[0, :2, 0].tolist() == [123, 72]  # towards white and black


def test_the_mark_and_place_do_not_change_which_images_are_poisoned() -> None:
    plain, other = poisoned(), poisoned(mark="random", place="random")
    assert torch.equal(plain.places, other.places)


def test_post_aug_stamps_after_the_shift_and_freezes() -> None:
    backdoor = poisoned(m=30, pipeline="post_aug")
    x = backdoor.train.x[backdoor.places]
    assert only(backdoor).frozen and not only(poisoned()).frozen
    assert (x[:, :, 1, :3] == 0).all() and (x[:, :, 0, :3] == 255).all()  # each patch in its place
    assert len({image.numpy().tobytes() for image in x}) > 10  # each image shifted by its own draw


def test_badnets_poisons_other_classes_and_clean_label_only_the_target() -> None:
    data = grey()
    flipped = badnets.poison(data, Generator().manual_seed(0), m=30, target=1)
    assert (data.y[flipped.places] != 1).all()
    clean = c_badnets.poison(data, Generator().manual_seed(0), m=10, target=1, boost=3)
    assert (
        (data.y[clean.places] == 1).all()
        and torch.equal(clean.train.y, data.y)
        and only(clean).boost == 3
    )


def test_refuses_a_patch_that_does_not_fit() -> None:
    with pytest.raises(SpecError, match="at most the images' side of 32 pixels, got 33"):
        poisoned(patch=33)
