"""Cognitive distillation: what a model needs of an image, where it is known what that is."""

from dataclasses import replace

import torch
from scored_rows import Attacked
from torch import Tensor, nn

from trials.spec import Scalar

ROWS = 20  # of each kind


class Shortcut(nn.Module):
    """Looks at three by three pixels where these are bright, else at the whole image."""

    def forward(self, x: Tensor) -> Tensor:
        corner, whole = x[:, :, :3, :3].mean((1, 2, 3)), x.mean((1, 2, 3))
        bright = (20 * (corner - 0.8)).sigmoid()
        told = bright * 10 * corner + (1 - bright) * 40 * whole
        return torch.stack([told, -told], 1)


def test_an_image_of_which_a_corner_is_enough_has_a_small_mask(attacked: Attacked) -> None:
    x = attacked.view.train.x[: 2 * ROWS].clone()
    x[:, :, :3, :3] = 0
    x[:ROWS, :, :3, :3] = 255
    train = replace(attacked.view.train, x=x, y=torch.zeros(len(x), dtype=torch.int64))
    view = replace(
        attacked.view, train=train, trained=lambda: Shortcut().eval(), keep=lambda _, make: make()
    )
    given: dict[str, Scalar] = {"fill": "mean", "steps": 60, "beta": 1.0, "removed": 0.5}
    found = attacked.scored("cognitive_distillation", view, **given)
    assert found.scores[:ROWS].min() > found.scores[ROWS:].max()
    assert found.suspects is not None
    assert found.suspects.nonzero().flatten().tolist() == list(range(ROWS))
    one = replace(view, train=train.take(torch.arange(3)))  # a row's mask is its own
    alone = attacked.scored("cognitive_distillation", one, **given).scores
    assert torch.allclose(alone, found.scores[:3], atol=1e-4)
