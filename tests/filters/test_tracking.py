"""Losses that are tracked by passes of their own, or in the training itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trials.filters._passes import losses_of
from trials.filters._tracking import Seen, tracked
from trials.types import Images

ROWS, BATCH = 22, 8  # of which an epoch drops six


def images() -> Images:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (ROWS, 1, 4, 4), dtype=torch.uint8, generator=rng)
    return Images(x, torch.arange(ROWS) % 3, 3)


class Counted(nn.Module):
    """A linear classifier that counts the images it is shown in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.shown = nn.Linear(16, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.shown += 0 if self.training else len(x)
        logits: Tensor = self.head(x.flatten(1))
        return logits


def losses(seen: Seen, lr: float, epochs: int = 3) -> tuple[Tensor, Counted]:
    model = Counted()
    optimizer = torch.optim.SGD(model.parameters(), lr)
    rng = torch.Generator().manual_seed(1)
    settings = {"epochs": epochs, "batch": BATCH, "augmented": False, "seen": seen}
    return tracked(model, optimizer, images(), rng, F.cross_entropy, **settings), model  # type: ignore[arg-type]


def test_without_a_step_the_training_sees_what_a_pass_sees() -> None:
    assert torch.allclose(losses("in_training", 0.0)[0], losses("after_epoch", 0.0)[0], atol=1e-6)


def test_the_training_sees_each_image_before_its_own_step() -> None:
    before = losses_of(Counted(), images())
    found, model = losses("in_training", 0.1, epochs=1)
    same = torch.isclose(found[:, 0], before, atol=1e-6)
    # the first batch, before any step, and those that were dropped
    assert BATCH + ROWS % BATCH <= int(same.sum()) < ROWS
    assert not torch.allclose(losses_of(model, images()), before)


def test_no_pass_follows_an_epoch_of_it() -> None:
    assert losses("in_training", 0.1, epochs=5)[1].shown == ROWS  # before the first
    assert losses("after_epoch", 0.1, epochs=5)[1].shown == 5 * ROWS


def test_at_the_end_one_pass_sees_what_the_last_of_all_passes_sees() -> None:
    found, model = losses("at_end", 0.1)
    assert model.shown == ROWS
    assert torch.equal(found[:, 0], losses("after_epoch", 0.1)[0][:, -1])
