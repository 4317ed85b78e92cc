"""Spectral signatures: the direction that a planted cluster takes, and how much each rule takes."""

from dataclasses import replace

import pytest
import torch
from scored_rows import Attacked

from trials.filters.spectral_signatures import signature


def test_a_planted_cluster_is_the_top_direction() -> None:
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(200, 16, generator=rng) + 5.0
    latents[:20, 3] += 8.0
    scores = signature(latents)
    assert set(scores.topk(20).indices.tolist()) == set(range(20))
    assert torch.allclose(signature(latents + 100.0), scores, rtol=1e-3)


@pytest.mark.parametrize("assumed", [0.1, 0.03])
def test_of_each_class_the_same_share_is_suspect(assumed: float, attacked: Attacked) -> None:
    found, labels = attacked.scored("spectral_signatures", assumed=assumed), attacked.view.train.y
    assert found.suspects is not None
    for label in range(10):
        mine = labels == label
        assert int(found.suspects[mine].sum()) == int(1.5 * assumed * int(mine.sum()) + 1e-9)
        least = found.scores[mine & found.suspects].min()
        assert least >= found.scores[mine & ~found.suspects].max()


def test_a_class_too_small_for_the_share_loses_no_row(attacked: Attacked) -> None:
    """1.5 times the share of a class of six rows is less than a row; none is not all."""
    train = attacked.view.train
    few = torch.cat([(train.y == label).nonzero().flatten()[:6] for label in range(10)])
    view = replace(
        attacked.view,
        train=train.take(few),
        keep=lambda _, make: make(),
    )
    found = attacked.scored("spectral_signatures", view, assumed=0.1)
    assert found.suspects is not None and not found.suspects.any()


def test_a_count_in_each_class_takes_at_most_half_of_it(attacked: Attacked) -> None:
    found = attacked.scored("spectral_signatures", rule="count_in_each_class", assumed=0.5)
    labels = attacked.view.train.y
    assert found.suspects is not None
    for label in range(10):
        mine = labels == label
        assert int(found.suspects[mine].sum()) == int(mine.sum()) // 2
