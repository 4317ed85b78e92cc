"""Gradient matching: the slope is that of finite differences, and batches add up."""

import dataclasses
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.attacks._matching import Aim, aim_of, augmented, in_batches
from trials.models import small_cnn

MEASURES = ("cosine", "layers", "product", "squared")


def network() -> nn.Module:
    """Two layers without a kink, in float64."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 9, 3))
    return nn.Sequential(*layers).double()


def images(n: int = 5, size: int = 6) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 3, size, size, generator=Generator().manual_seed(1), dtype=torch.float64)
    return x, torch.arange(n) % 3


def aimed(measure: str = "cosine", loss: str = "xent", layers: int = 0) -> Aim:
    x, _ = images()
    return aim_of(network(), x[:1].flip(3), loss, 0, 2, measure, layers)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_slope_is_that_of_finite_differences(measure: str) -> None:
    aim, (x, y) = aimed(measure), images()
    value, slope = aim.slope([(x, y)])
    assert float(value) == pytest.approx(aim.match([(x, y)]), rel=1e-12)
    step = 1e-5
    for at in ((0, 0, 0, 0), (1, 2, 3, 4), (4, 1, 5, 5), (2, 0, 2, 1)):
        moved = [x.clone(), x.clone()]
        moved[0][at] += step
        moved[1][at] -= step
        up, down = (aim.match([(one, y)]) for one in moved)
        assert (up - down) / (2 * step) == pytest.approx(float(slope[at]), rel=1e-5, abs=1e-11)


@pytest.mark.parametrize("measure", MEASURES)
def test_two_batches_have_the_slope_of_one_batch_of_both(measure: str) -> None:
    aim, (x, y) = aimed(measure), images()
    one, whole = aim.slope([(x, y)])
    for size in (1, 2, 4):
        value, parts = aim.slope(list(in_batches(x, y, size)))
        torch.testing.assert_close(value, one)
        torch.testing.assert_close(parts, whole)


def test_the_slope_of_a_network_in_eval_mode_is_that_of_differentiating_the_gradient() -> None:
    torch.manual_seed(0)
    model = small_cnn.build(3, 6, width=4).double().eval()
    x, y = images()
    aim = aim_of(model, x[:1].flip(3), "xent", 0, 2, "cosine", 0)
    x.requires_grad_()
    parameters = list(model.parameters())
    mine = torch.autograd.grad(F.cross_entropy(model(x), y), parameters, create_graph=True)
    mine_, theirs = (torch.cat([g.flatten() for g in gs]) for gs in (mine, aim.wanted.values()))
    distance = 1 - torch.cosine_similarity(mine_, theirs, dim=0)
    (slope,) = torch.autograd.grad(distance, x)
    value, ours = aim.slope([(x.detach(), y)])
    torch.testing.assert_close(value, distance.detach())
    torch.testing.assert_close(ours, slope)


def test_the_same_images_with_the_wanted_label_match_fully() -> None:
    x, _ = images()
    batch = (x[:1].flip(3), torch.tensor([2]))
    for measure, best in (("cosine", 0), ("layers", 0), ("product", -1), ("squared", 0)):
        assert aimed(measure).match([batch]) == pytest.approx(best, abs=1e-9)


def test_each_loss_wants_another_gradient_and_lowers_itself() -> None:
    x, found = images()[0][:1].flip(3), {}
    for loss in ("xent", "margin", "untargeted"):
        aim = aimed(loss=loss)
        found[loss] = torch.cat([g.flatten() for g in aim.wanted.values()])
        with torch.no_grad():
            before = aim.model(x).log_softmax(1)[0]
            for name, parameter in aim.model.named_parameters():
                parameter.sub_(1e-3 * aim.wanted[name])
            after = aim.model(x).log_softmax(1)[0]
        told = 0 if loss == "untargeted" else 2
        assert (after[told] < before[told]) == (loss == "untargeted")
    assert len({tuple(g.tolist()) for g in found.values()}) == 3


def test_the_parameters_of_the_largest_gradient_are_matched() -> None:
    every, few = aimed().wanted, aimed(layers=2).wanted
    norms = {name: float(g.norm()) for name, g in every.items()}
    assert set(few) == set(sorted(norms, key=lambda name: -norms[name])[:2]) and len(every) == 4
    _, slope = aimed(layers=2).slope([images()])
    assert float(slope.abs().max()) > 0


# The augmentation.


def shown(draws: Tensor, flip: bool = False, size: int = 32) -> Tensor:
    """Where the mean of a white square around the centre lands, (n, 2): row and column."""
    x = torch.zeros(len(draws), 1, size, size)
    x[:, :, size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1] = 1
    seen = augmented(x, draws, 1 / 8, flip)[:, 0]
    torch.testing.assert_close(seen.sum((1, 2)), torch.full((len(draws),), 4.0))
    along = torch.arange(size) - (size - 1) / 2
    return torch.stack([(seen.sum(2) * along).sum(1), (seen.sum(1) * along).sum(1)], 1) / 4


def test_a_pixel_moves_by_at_most_an_eighth_of_the_width() -> None:
    at = shown(torch.rand(1000, 3, generator=Generator().manual_seed(0)), flip=True)
    assert float(at.abs().max()) <= 4 + 1e-4 and float(at.abs().max()) > 3.9
    assert float(at.mean(0).abs().max()) < 0.5  # both ways
    corners = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.5, 0.5, 1.0]])
    torch.testing.assert_close(shown(corners).abs(), torch.tensor([[4.0, 4], [4, 4], [0, 0]]))


def test_half_of_the_images_are_mirrored_where_that_is_asked_for() -> None:
    x = torch.rand(200, 3, 8, 8, generator=Generator().manual_seed(0))
    draws = torch.rand(200, 3, generator=Generator().manual_seed(1))
    seen = augmented(x, draws, 0.0, True)
    mirrored = (seen - x.flip(3)).abs().amax((1, 2, 3)) < 1e-5
    torch.testing.assert_close(seen[~mirrored], x[~mirrored])
    assert torch.equal(mirrored, draws[:, 2] < 0.5) and 60 < int(mirrored.sum()) < 140
    torch.testing.assert_close(augmented(x, draws, 0.0, False), x)


def test_gradients_pass_through_the_augmentation() -> None:
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64, generator=Generator().manual_seed(0))
    draws = torch.rand(2, 3, dtype=torch.float64, generator=Generator().manual_seed(1))
    seen = partial(augmented, draws=draws, shift=1 / 8, flip=True)
    assert torch.autograd.gradcheck(seen, (x.requires_grad_(),))


def half_dead() -> nn.Module:
    """The last convolution's activations are all zero: no gradient reaches it."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.dead = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
            self.last = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.first(x))
            answer: Tensor = self.last((h + torch.relu(self.dead(h) - 100)).mean((2, 3)))
            return answer

    torch.manual_seed(0)
    return Net().double().eval()


def test_layers_that_have_no_wanted_gradient_are_not_matched_one_by_one() -> None:
    (x, y), model = images(), half_dead()
    aim = aim_of(model, x[:1].flip(3), "xent", 0, 2, "layers", 0)
    assert sorted(aim.wanted) == ["first.bias", "first.weight", "last.bias", "last.weight"]
    _, slope = aim.slope([(x, y)])
    assert bool(slope.isfinite().all()) and float(slope.abs().max()) > 0
    assert len(aim_of(model, x[:1], "xent", 0, 2, "cosine", 0).wanted) == 6


def test_a_slope_that_is_not_finite_is_one_line() -> None:
    x, y = images()
    aim = aim_of(half_dead(), x[:1], "xent", 0, 2, "cosine", 0)
    layer = aim.model.get_submodule("dead")
    dead = {name: torch.ones_like(p) for name, p in layer.named_parameters(prefix="dead")}
    with pytest.raises(ArithmeticError, match=r'match = "layers" is not finite') as told:
        dataclasses.replace(aim, wanted=dead, measure="layers").slope([(x, y)])
    assert "\n" not in str(told.value)
