"""What a network has besides its trained weights survives every repair: dropout and stochastic
depth at their rates, buffers, tied weights. (A frozen layer is repaired like any other; the module
that a caller gets back is frozen where the given one was: tests/sweep/commands/test_live.py.)
"""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torchvision.ops import StochasticDepth

from trials import catalog
from trials.classifier import Classifier
from trials.types import DefenderView, Images

CLASSES, SIDE = 4, 16
FEW: dict[str, Any] = {
    "steps": 3, "steps_per_class": 2, "batch": 8, "teacher_steps": 2, "members": 1,
    "iterations": 1, "recover_steps": 2, "rounds": 1, "inner_steps": 1, "ranking_batches": 1,
    "refresh": 8, "stop": 1.0, "most": 0.05,
}  # fmt: skip


class Net(nn.Module):
    """A block that is left out now and then, dropout before the head, a buffer of its own,
    and two layers of one weight.
    """

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 1, 1)
        self.register_buffer("scale", torch.tensor(0.5))
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8))
        self.depth = StochasticDepth(0.4, "row")
        self.layer2 = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12))
        self.one = nn.Linear(12, 12, bias=False)
        self.two = nn.Linear(12, 12, bias=False)
        self.two.weight = self.one.weight
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x) * self.scale
        z = (z + self.depth(self.layer1(z))).relu()
        z = self.layer2(z).relu().mean((2, 3))
        logits: Tensor = self.head(self.dropout(self.two(self.one(z).relu())))
        return logits


def repaired(defense: str, seed: int) -> tuple[nn.Module, nn.Module]:
    """The given model, and what the defense makes of it."""
    torch.manual_seed(0)
    x = torch.randint(0, 256, (32, 3, SIDE, SIDE), dtype=torch.uint8)
    view = DefenderView(Net(), Images(x, torch.arange(32) % CLASSES, CLASSES))
    settings = {k: v for k, v in FEW.items() if k in catalog.describe("defenses", defense).settings}
    torch.manual_seed(seed)
    rng = Generator().manual_seed(0)
    *_, (_, last) = catalog.find("defenses", defense)(view, rng, 1, **settings)
    return view.model, last


FITTING = [
    name
    for name in catalog.names("defenses")
    if name != "none"
    and not Classifier(Net(), (3, SIDE, SIDE)).lacks(catalog.describe("defenses", name).needs)
]


@pytest.mark.parametrize("defense", FITTING)
def test_all_but_the_trained_weights_is_as_it_was(defense: str) -> None:
    given, found = repaired(defense, 1)
    assert isinstance(given, Net) and isinstance(found, Net)
    assert (found.depth.p, found.dropout.p) == (0.4, 0.3)
    assert torch.equal(found.scale, given.scale)
    assert found.one.weight is found.two.weight
    now, before = found.state_dict(), given.state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in now.items())


@pytest.mark.parametrize("defense", ["fine_tuning", "ft_sam"])
def test_dropout_and_stochastic_depth_are_drawn_while_it_is_tuned(defense: str) -> None:
    (_, a), (_, again), (_, other) = (repaired(defense, seed) for seed in (1, 1, 2))
    a, again, other = (m.state_dict()["head.weight"] for m in (a, again, other))
    assert torch.equal(a, again) and not torch.equal(a, other)
