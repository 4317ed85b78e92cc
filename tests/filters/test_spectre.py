"""SPECTRE: quantum entropy scores, and how much its own rule takes of which class."""

from dataclasses import replace

import pytest
import torch
from scored_rows import Attacked

from trials.filters.spectre import quantum_entropy


def test_rows_along_a_direction_that_varies_too_much_score_higher() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(300, 5, generator=rng, dtype=torch.float64)
    points[:20, 3] += 12.0
    spectral, plain = quantum_entropy(points, 4.0), quantum_entropy(points, 0.0)
    assert set(spectral.topk(20).indices.tolist()) == set(range(20))
    assert torch.allclose(plain, points.square().sum(1) / 5)  # all directions alike


def test_whitened_rows_without_excess_are_no_division_by_zero() -> None:
    points = torch.eye(4, dtype=torch.float64).repeat(2, 1) * 2.0  # their covariance is 1
    assert torch.allclose(quantum_entropy(points, 4.0), torch.ones(8).double())


@pytest.mark.parametrize("assumed", [0.01, 0.03])
def test_of_one_class_so_many_rows_of_all_are_suspect(assumed: float, attacked: Attacked) -> None:
    found = attacked.scored("spectre", assumed=assumed, covariance="trusted")
    assert found.suspects is not None
    assert int(found.suspects.sum()) == int(1.5 * assumed * len(found.scores) + 1e-9)
    (label,) = set(attacked.view.train.y[found.suspects].tolist())
    mine = attacked.view.train.y == label
    assert found.scores[found.suspects].min() >= found.scores[mine & ~found.suspects].max()


def test_few_rows_a_class_are_scored_in_few_directions(attacked: Attacked) -> None:
    train = attacked.view.train
    few = torch.cat([(train.y == label).nonzero().flatten()[: 4 + label] for label in range(10)])
    view = replace(attacked.view, train=train.take(few), keep=lambda _, make: make())
    found = attacked.scored("spectre", view, covariance="trusted")
    assert found.scores[:4].abs().max() == 0 < found.scores[4:9].abs().max()  # 4 rows; 5 rows


def test_the_best_number_of_directions_is_that_in_which_most_lies_far_out(
    attacked: Attacked,
) -> None:
    """Far rows lie along one direction: that alone tells more than sixteen together."""
    rng, rows = torch.Generator().manual_seed(0), len(attacked.view.train)
    latents = torch.randn(rows, 20, generator=rng)
    latents[:, 0] = 2 * latents[:, 0] + 30.0 * (torch.arange(rows) % 12 == 0)
    told = {"latents": latents, "predicted": attacked.view.train.y}
    trusted = torch.randn(len(attacked.view.trusted), 20, generator=rng)
    told["trusted"] = torch.cat([2 * trusted[:, :1], trusted[:, 1:]], 1)
    view = replace(attacked.view, keep=lambda _, make: told)
    best, most = (
        attacked.scored("spectre", view, covariance="trusted", chosen=c) for c in ("best", "most")
    )
    assert not torch.equal(best.scores, most.scores)
    one = attacked.scored("spectre", view, covariance="trusted", dimensions=1)
    assert torch.equal(best.scores, one.scores)
