"""The given model's own accuracy before and after its repair, over each image and its mirror."""

import pytest
import torch
from torch import Tensor, nn

from results.stats.intervals import paired
from sweep.commands.own_measured import own_of
from trials.types import Images


class Left(nn.Module):
    """Says 1 where the left half of an image is brighter than the right."""

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self.always = nn.Parameter(torch.tensor(float(always)))

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[..., : x.shape[-1] // 2].sum((1, 2, 3)), x.sum((1, 2, 3))
        says = torch.where(self.always > 0, torch.ones_like(left), (2 * left > right).float())
        return torch.stack([1 - says, says], dim=1)


@pytest.mark.parametrize(("flip", "mirrored"), [(True, True), (True, False), (False, True)])
def test_an_image_and_its_mirror_image_count_as_one(flip: bool, mirrored: bool) -> None:
    x = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    x[:3, ..., 0] = 200  # bright on the left, the last one on the right
    x[3, ..., 1] = 200
    held = Images(x, torch.ones(4, dtype=torch.int64), 2, flip=flip)
    own = own_of(Left(always=True), Left(), held, mirrored=mirrored)
    both = flip and mirrored
    changes = [0.5] * 4 if both else [0.0, 0.0, 0.0, 1.0]
    assert (own.before, own.after) == (1.0, 0.5 if both else 0.75)
    assert (own.n, own.mirrored, own.cost_interval) == (4, both, paired(changes))
