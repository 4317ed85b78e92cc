"""SCAn: how a class is split, and which classes are told as two groups."""

import torch

from trials.filters.scan import anomalies, split, variation_of


def drawn(rows: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 6, generator=rng, dtype=torch.float64)


def test_a_planted_group_is_the_smaller_one_wherever_it_lies() -> None:
    for number in (5, 40):
        points = drawn(200)
        points[:number, 2] += 9.0
        found = split(points)
        assert found.smaller.nonzero().flatten().tolist() == list(range(number))
        assert found.margins[:number].min() > 0 > found.margins[number:].max()
        moved = split(points.flip(0) + 7.0)
        assert torch.equal(moved.smaller.flip(0), found.smaller)


def test_two_groups_tell_more_the_farther_apart_they_lie() -> None:
    ratios = []
    for apart in (0.0, 4.0, 9.0):
        points = drawn(200)
        points[:40, 2] += apart
        ratios.append(split(points).ratio)
    assert ratios[0] < ratios[1] < ratios[2]


def test_equal_rows_are_one_group() -> None:
    found = split(torch.ones(10, 3, dtype=torch.float64))
    assert found.ratio == 0 and not found.smaller.any()


def test_the_variation_is_what_classes_share() -> None:
    labels = torch.arange(4).repeat_interleave(300)
    points = drawn(1200)
    points[:, 1] *= 3
    points[:, 0] += 20.0 * labels.double()  # what differs between classes is identity
    within = variation_of(points - points.mean(0), labels)
    assert torch.allclose(within.diagonal(), torch.tensor([1.0, 9, 1, 1, 1, 1]).double(), rtol=0.25)


def test_one_direction_is_enough() -> None:
    labels, points = torch.arange(3).repeat_interleave(200), drawn(600)[:, :1]
    within = variation_of(points - points.mean(0), labels)
    assert within.shape == (1, 1) and 0.7 < float(within) < 1.3


def test_the_ratio_of_one_class_stands_out_in_median_deviations() -> None:
    found = anomalies({0: 1.0, 1: 1.1, 2: 0.9, 3: 1.05, 4: 9.0})
    assert found[4] > 7.39 > max(found[k] for k in (0, 1, 2, 3))
    assert anomalies({}) == {}
