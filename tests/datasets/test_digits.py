"""Digits: scaled, three equal channels, one fixed stratified split."""

import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

from trials.datasets.digits import load


def test_splits_every_class_four_to_one() -> None:
    train, test = load("train"), load("test")
    assert len(train) + len(test) == 1797
    share = test.y.bincount(minlength=10) / (
        test.y.bincount(minlength=10) + train.y.bincount(minlength=10)
    )
    assert ((share > 0.18) & (share < 0.22)).all()


def test_gives_the_same_images_each_time_whatever_the_seed() -> None:
    torch.manual_seed(1)
    first = load("test")
    torch.manual_seed(2)
    assert torch.equal(first.x, load("test").x)


@pytest.mark.parametrize("size", [8, 16, 20])
def test_scales_to_the_asked_size_in_three_equal_channels(size: int) -> None:
    images = load("test", size=size)
    assert (
        images.x.shape[1:] == (3, size, size)
        and images.x.dtype == torch.uint8
        and images.y.dtype == torch.int64
    )
    assert torch.equal(images.x[:, 0], images.x[:, 2])
    assert images.x.max() == 255


def test_shifts_by_one_pixel_and_never_mirrors() -> None:
    assert (load("train").pad, load("train").flip) == (1, False)


def test_reads_what_scikit_learn_reads_without_importing_it() -> None:
    words = (
        "import sys; from trials.datasets import digits; digits.load('test'); "
        "print('sklearn' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", words], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )
    grey, labels = load_digits(return_X_y=True)
    whole = (torch.from_numpy(grey) / 16 * 255).round().to(torch.uint8)
    parts = load("train", size=8), load("test", size=8)
    ours = [
        (y, x[0].flatten().tolist())
        for part in parts
        for x, y in zip(part.x, part.y.tolist(), strict=True)
    ]
    assert sorted(ours) == sorted(zip(labels.tolist(), whole.tolist(), strict=True))


def test_classes_of_a_long_tailed_set_fall_exponentially_and_the_test_set_stays() -> None:
    whole, tailed = load("train"), load("train", imbalance=0.1)
    all_of, left = torch.bincount(whole.y, minlength=10), torch.bincount(tailed.y, minlength=10)
    wanted = [round(0.1 ** (k / 9) * int(n)) for k, n in enumerate(all_of)]
    assert left.tolist() == wanted and left[0] == all_of[0]
    of_last = whole.x[whole.y == 9]
    assert torch.equal(tailed.x[tailed.y == 9], of_last[: wanted[9]])  # the first ones
    assert len(load("test", imbalance=0.1)) == len(load("test"))
    least = load("train", imbalance=1e-6)
    assert torch.bincount(least.y, minlength=10).min() == 1
