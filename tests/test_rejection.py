"""Rejection: shares, conformal thresholds, quotas of classes, and a fit of two distributions."""

import math

import pytest
import torch
from torch import Generator

from trials.rejection import (
    check_enough,
    finds_all,
    from_level,
    grouped,
    promised,
    ranked,
    two_normals,
    without_itself,
)
from trials.spec import SpecError


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_a_share_is_of_the_rows_of_the_training_set_alone() -> None:
    scores = torch.cat([torch.arange(100.0), torch.full((40,), 1000.0)])
    rows = ranked(scores, torch.zeros(140, dtype=torch.int64), 100, rng(), "global")
    gone = from_level(rows, rows.top(30), 1.0)
    assert gone[:100].tolist() == [False] * 70 + [True] * 30 and gone[100:].all()
    assert not from_level(rows, rows.top(0), 1.0).any()


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.3])
def test_a_threshold_finds_new_rows_of_the_kind_as_often_as_it_says(beta: float) -> None:
    found = []
    for seed in range(400):
        levels = torch.randperm(1000, generator=rng(seed))  # of 40 rows, and of others like them
        found.append(bool(levels[40] >= finds_all([levels[:40]], beta)))
    share = sum(found) / len(found)
    assert share >= 1 - beta - 3 * math.sqrt(beta * (1 - beta) / 400)
    assert share <= 1 - beta + 1 / 41 + 3 * math.sqrt(beta * (1 - beta) / 400)  # and no more


def test_of_several_attacks_each_is_found() -> None:
    high, low = torch.arange(100, 120), torch.arange(0, 20)
    assert finds_all([high, low], 0.1) == 1 and finds_all([high], 0.1) == 101


def test_too_few_rows_for_a_threshold_are_refused() -> None:
    with pytest.raises(SpecError, match=r"beta = 0\.1 needs 9 rows of each attack.*got 8: raise"):
        check_enough(0.1, 8)
    check_enough(0.1, 9)
    assert finds_all([torch.arange(9)], 0.1) == 0


def test_few_images_set_the_threshold_by_all_of_them_and_promise_less() -> None:
    assert finds_all([torch.arange(50, 54)], 0.1) == 50
    assert promised(0.1, 4) == 0.75 and promised(0.1, 9) == 8 / 9 and promised(0.1, 10) == 0.9


@pytest.mark.parametrize("sizes", [(30, 40), (6, 50), (1, 12), (1,), (9,)])
def test_a_row_is_judged_by_the_threshold_that_the_others_set(sizes: tuple[int, ...]) -> None:
    levels = torch.randperm(200, generator=rng(len(sizes) + sizes[0]))[: sum(sizes)]
    groups = list(torch.split(levels, list(sizes)))
    for j, found in enumerate(without_itself(groups, 0.1)):
        for i, level in enumerate(found.tolist()):
            others = torch.cat([groups[j][:i], groups[j][i + 1 :]])
            left = [*groups[:j], *([others] if len(others) else []), *groups[j + 1 :]]
            expected = finds_all(left, 0.1) if left else int(groups[j][i]) + 1
            if len(others) or not left:
                assert level == expected
            else:  # of an attack of one row nothing is known without it
                assert level == min(expected, int(groups[j][i]) + 1)


def test_of_rows_like_one_another_as_many_are_found_without_themselves_as_of_new_ones() -> None:
    levels = torch.randperm(1000, generator=rng())[:40]
    seen = float((levels >= finds_all([levels], 0.1)).double().mean())
    (others,) = without_itself([levels], 0.1)
    assert seen == 37 / 40 and float((levels >= others).double().mean()) == 36 / 40


def two_classes() -> tuple[torch.Tensor, torch.Tensor]:
    """A large class of low scores, and a smaller one of high ones."""
    labels = torch.tensor([0] * 200 + [1] * 60)
    return torch.rand(260, generator=rng()) + labels, labels


def test_within_its_class_a_small_class_does_not_pay_for_all() -> None:
    scores, labels = two_classes()
    shares = {}
    for quota in ("global", "within"):
        rows = ranked(scores, labels, 260, rng(), quota)
        gone = from_level(rows, rows.top(52), 1.0)
        assert int(gone.sum()) == 52
        shares[quota] = [float(gone[labels == k].double().mean()) for k in (0, 1)]
    assert shares["global"] == [0.0, pytest.approx(52 / 60)]
    assert shares["within"] == [pytest.approx(0.2, abs=0.01)] * 2


def test_of_no_class_more_than_the_cap_is_removed() -> None:
    scores, labels = two_classes()
    rows = ranked(scores, labels, 260, rng(), "capped")
    gone = from_level(rows, rows.top(52), 0.5)
    assert int(gone[labels == 1].sum()) == 30 and not gone[labels == 0].any()
    left = scores[(labels == 1) & ~gone]
    assert bool(scores[gone].min() >= left.max())  # the most suspicious ones


def test_classes_of_few_rows_are_one() -> None:
    labels = torch.tensor([0] * 60 + [1] * 5 + [2] * 5)
    assert set(grouped(labels, 70)[60:].tolist()) == {-1} and int(grouped(labels, 70)[0]) == 0


def test_a_mixture_finds_the_higher_of_two_heaps() -> None:
    low, high = torch.randn(900, generator=rng()), 8 + torch.randn(100, generator=rng(1))
    assert two_normals(torch.cat([low, high])) == pytest.approx(100, abs=3)


def test_ranks_do_not_depend_on_the_order_of_rows() -> None:
    scores, labels = two_classes()
    order = torch.randperm(260, generator=rng(3))
    rows = ranked(scores, labels, 260, rng(), "within")
    moved = ranked(scores[order], labels[order], 260, rng(), "within")
    gone, other = from_level(rows, rows.top(26), 1.0), from_level(moved, moved.top(26), 1.0)
    differ = int((gone[order] != other).sum())
    assert differ <= 4  # only between equal ranks of two classes
