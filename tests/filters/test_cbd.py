"""CBD: what a model learns first stands out beside one that is kept from learning it."""

from dataclasses import replace

import torch
from scored_rows import Attacked

from trials.filters.cbd import weights
from trials.metrics import auroc

STAMPED = 150


def test_a_mark_that_is_learned_at_once_is_found(attacked: Attacked) -> None:
    x, y = attacked.view.train.x.clone(), attacked.view.train.y.clone()
    x[:STAMPED, :, 4:12, 4:12] = torch.tensor([255, 0, 255], dtype=torch.uint8)[:, None, None]
    y[:STAMPED] = 3
    view = replace(
        attacked.view, train=replace(attacked.view.train, x=x, y=y), keep=lambda _, make: make()
    )
    found = attacked.scored("cbd", view, early=2, epochs=3)
    assert auroc(found.scores[:STAMPED], found.scores[STAMPED:]) > 0.9
    assert found.suspects is None and 0 <= found.scores.min() <= found.scores.max() <= 1


def test_a_row_counts_by_its_first_loss_as_a_share_of_both() -> None:
    found = weights(torch.tensor([0.0, 1.0, 3.0, 0.0]), torch.tensor([2.0, 1.0, 1.0, 0.0]))
    assert torch.allclose(found, torch.tensor([0.0, 0.5, 0.75, 0.5]), atol=1e-6)
