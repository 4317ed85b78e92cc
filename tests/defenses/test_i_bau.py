"""I-BAU: the hypergradient against finite differences, the bound, and the images that carry the
perturbation.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.defenses.i_bau import hypergradient, misled, perturbation, repair

from .tiny import fresh_view, noise, run, same


def rng() -> Generator:
    return Generator().manual_seed(0)


def smooth() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return net, torch.rand(6, 1, 3, 3, generator=rng(), dtype=torch.float64), torch.arange(6) % 3


@pytest.mark.parametrize("terms", [0, 1, 5])
def test_the_hypergradient_is_that_of_an_outer_loss_after_so_many_steps_of_the_inner_descent(
    terms: int,
) -> None:
    """The series of k terms is the derivative of k descent steps that start where they end, held
    there.
    """
    net, x, y = smooth()
    start = 0.1 * torch.randn(1, 1, 3, 3, generator=rng(), dtype=torch.float64)
    parameters = list(net.parameters())

    def inner(d: Tensor) -> Tensor:
        return d.square().sum() - 0.1 * F.cross_entropy(net(x + d), y)

    def outer(d: Tensor) -> Tensor:
        return F.cross_entropy(net(x + d), y)

    delta = start
    for _ in range(2000):  # to the inner minimum, where the descent stands still
        delta = delta.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(inner(delta), delta)
        delta = (delta - 0.1 * slope).detach()

    def unrolled() -> Tensor:
        now = delta.detach().requires_grad_(True)
        for _ in range(terms):
            (slope,) = torch.autograd.grad(inner(now), now, create_graph=True)
            now = now - 0.1 * slope
        return outer(now)

    found = hypergradient(parameters, delta, inner, outer, terms)
    h = 1e-5
    for parameter, gradient in zip(parameters, found, strict=True):
        for index in range(0, parameter.numel(), 4):
            flat = parameter.data.view(-1)
            usual = float(flat[index])
            flat[index] = usual + h
            up = float(unrolled().detach())
            flat[index] = usual - h
            down = float(unrolled().detach())
            flat[index] = usual
            assert float(gradient.view(-1)[index]) == pytest.approx(
                (up - down) / (2 * h), rel=1e-4, abs=1e-8
            )


def test_more_terms_are_another_gradient() -> None:
    net, x, y = smooth()
    delta = torch.full((1, 1, 3, 3), 0.1, dtype=torch.float64)

    def found(terms: int) -> list[Tensor]:
        return hypergradient(
            list(net.parameters()),
            delta,
            lambda d: misled(net, x, d),
            lambda d: F.cross_entropy(net(x + d), y),
            terms,
        )

    few, many = found(1), found(5)
    assert any(not torch.allclose(a, b, rtol=1e-6) for a, b in zip(few, many, strict=True))


@pytest.mark.parametrize("radius", [0.5, 3.0])
def test_the_perturbation_misleads_within_its_radius(radius: float) -> None:
    model = fresh_view().model
    x = noise().x.float() / 255
    found = perturbation(model, iter([x] * 20), 20, 10.0, radius)
    assert float(found.norm()) <= radius * (1 + 1e-5)
    assert float(misled(model, x, found).detach()) < float(
        misled(model, x, torch.zeros_like(found)).detach()
    )


def test_at_least_one_image_of_a_batch_carries_it() -> None:
    tiny, none = (
        run(repair(fresh_view(), rng(), 1, rounds=1, batch=16, share=s, radius=r))
        for s, r in ((0.0, 5.0), (0.0, 1e-9))
    )
    assert not same(tiny[0][1], none[0][1])


def test_a_step_is_a_round() -> None:
    assert [s for s, _ in repair(fresh_view(), rng(), 50, rounds=3, batch=16)] == [1, 2, 3]
