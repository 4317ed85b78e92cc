"""A network folded for gradient matching gives what it gave, and its gradients in its own
parameters.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.attacks._folding import Folded, folded
from trials.attacks._matching import aim_of
from trials.models import resnet18, torchvision


def images(n: int = 3, size: int = 8) -> Tensor:
    return torch.rand(n, 3, size, size, generator=Generator().manual_seed(1), dtype=torch.float64)


def drawn(model: nn.Module) -> nn.Module:
    """The network in float64 and eval mode, its statistics and scales as if it had been trained."""
    rng = Generator().manual_seed(2)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.3, generator=rng)
            part.running_var.uniform_(0.5, 2, generator=rng)
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=rng)
            nn.init.normal_(part.bias, 0, 0.3, generator=rng)
    return model.double().eval()


def residual(groups: int = 0) -> nn.Module:
    torch.manual_seed(0)
    return drawn(resnet18.build(4, 8, width=4, groups=groups))


def test_a_folded_network_has_the_logits_and_the_gradients_that_it_had() -> None:
    model, x, y = residual(), images(), torch.tensor([0, 3, 1])
    found, held = folded(model, x), dict(model.named_parameters())
    assert len(found.pairs) == 18  # narrow shortcuts are no plain convolutions
    torch.testing.assert_close(found(held, x), model(x))
    own = torch.autograd.grad(F.cross_entropy(model(x), y), list(held.values()))
    ours = torch.autograd.grad(F.cross_entropy(found(held, x), y), list(held.values()))
    torch.testing.assert_close(ours, own)


def test_the_slope_is_the_unfolded_networks() -> None:
    model, x, y = residual(), images(), torch.tensor([0, 3, 1])
    aim = aim_of(model, x[:1].flip(3), "xent", 0, 2, "cosine", 0)
    assert aim.network.pairs
    plain = replace(aim, network=Folded(model))
    torch.testing.assert_close(aim.slope([(x, y)]), plain.slope([(x, y)]))


def test_mobilenet_is_folded_too() -> None:
    torch.manual_seed(0)
    model = drawn(torchvision.build(4, 32, arch="mobilenet_v2"))
    assert len(folded(model, images(2, 32)).pairs) == 52


class TakenTwice(nn.Module):
    """What the convolution gives goes past its normalisation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        logits: Tensor = (self.norm(out) + out).mean((2, 3))
        return logits


def test_what_cannot_be_folded_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    for model in (drawn(TakenTwice()), residual(groups=2)):
        found, x = folded(model, images()), images()
        assert found.model is model and not found.pairs
        torch.testing.assert_close(found(dict(model.named_parameters()), x), model(x))


@pytest.mark.parametrize("groups", [0, 2])
def test_bf16_descends_along_nearly_the_same_slope(groups: int) -> None:
    model, x, y = residual(groups).float(), images(12).float(), torch.arange(12) % 4
    aim = aim_of(model, x[:1].flip(3), "xent", 0, 2, "cosine", 0)
    (match, full), (nearly, low) = aim.slope([(x, y)]), aim.low.slope([(x, y)])
    assert low.dtype == full.dtype and not torch.equal(low, full)
    assert float(nearly) == pytest.approx(float(match), abs=0.1)
    assert float(torch.cosine_similarity(low.flatten(), full.flatten(), dim=0)) > 0.8
