"""Pivotal Tuning: the leash's gradient, its strength, and the three forms of the latent term."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trials.classifier import Classifier
from trials.defenses.fine_tuning import repair as fine_tune
from trials.defenses.pivotal_tuning import centroids, lambda_r, latent_term, leash, repair
from trials.models.resnet18 import build
from trials.train import clone, frozen
from trials.types import DefenderView

from .tiny import Calls, fresh_view, run, same, state

FORMS = ["printed", "release", "abs"]


def rng() -> Generator:
    return Generator().manual_seed(0)


def latents(n: int = 24, d: int = 16, seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor]:
    draw = Generator().manual_seed(seed)
    return torch.rand(n, d, generator=draw, dtype=torch.float64), torch.arange(n) % classes


def test_the_leash_pulls_with_kappa_times_the_distance() -> None:
    """It is the gradient of lambda_R * mean squared difference, as of any loss, on all trainable
    parameters.
    """
    model = fresh_view().model.double()
    pivot, kappa = frozen(model), 0.37
    model = clone(model)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=rng(), dtype=torch.float64))
    apart = [p - q for p, q in zip(model.parameters(), pivot.parameters(), strict=True)]
    number = sum(p.numel() for p in model.parameters())
    loss = lambda_r(kappa, model) * torch.stack([a.square().sum() for a in apart]).sum() / number
    expected = torch.autograd.grad(loss, list(model.parameters()))
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    leash(still, model, pivot, kappa)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    still.step()
    for p, q, g in zip(model.parameters(), pivot.parameters(), expected, strict=True):
        assert p.grad is not None
        assert torch.allclose(p.grad, g, atol=1e-6, rtol=0)
        assert torch.allclose(p.grad, kappa * (p.detach() - q), atol=1e-6, rtol=0)


def test_table_vs_lambda_r_is_the_default_kappa() -> None:
    with torch.device("meta"):
        assert lambda_r(3.58e-3, build(10, 32)) == pytest.approx(20_000, rel=1e-3)


def test_without_both_terms_it_is_plain_fine_tuning() -> None:
    plain = run(fine_tune(fresh_view(), rng(), 1, steps=4, lr=0.01, batch=16))
    bare = run(repair(fresh_view(), rng(), 1, steps=4, lr=0.01, batch=16, lambda_s=0.0, kappa=0.0))
    assert all(same(a, b) for (_, a), (_, b) in zip(plain, bare, strict=True))


def test_a_stronger_pull_stays_nearer_to_the_given_weights() -> None:
    def distance(kappa: float) -> float:
        view = fresh_view()
        given = state(view.model)
        (_, new) = run(repair(view, rng(), 999, steps=60, lr=0.02, batch=40, kappa=kappa))[-1]
        names = [n for n, _ in view.model.named_parameters()]
        return float(torch.stack([(new[n] - given[n]).square().sum() for n in names]).sum().sqrt())

    distances = [distance(k) for k in (0.0, 3.6e-3, 3.6e-2, 0.18, 3.6)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.5 * distances[0]


@pytest.mark.parametrize(("lambda_s", "pivot"), [(0.05, 3), (0.0, 0)])
def test_one_forward_of_the_student_and_one_of_the_pivot_a_step(
    lambda_s: float, pivot: int
) -> None:
    view = fresh_view()
    assert Classifier(view.model, view.trusted.x.shape[1:]).head  # found once, in a pass of its own
    with Calls() as calls:
        run(repair(view, rng(), 9, steps=3, batch=16, lambda_s=lambda_s))
    assert (calls.train, calls.eval) == (3, pivot)


def test_the_pivot_stays_what_it_was() -> None:
    """A second repair, whose pivot is made anew, agrees with one that tuned for longer before."""
    view = fresh_view()
    short = run(repair(view, rng(), 2, steps=2, batch=16))
    long = run(repair(view, rng(), 2, steps=6, batch=16))
    assert same(short[0][1], long[0][1])


def test_runs_on_batches_of_one_class() -> None:
    view = fresh_view()
    alone = DefenderView(view.model, view.trusted.take(view.trusted.y == 2))
    (_, weights) = run(repair(alone, rng(), 9, steps=3, batch=16))[-1]
    assert all(torch.isfinite(w).all() for w in weights.values())


@pytest.mark.parametrize("form", FORMS)
def test_fewer_than_two_classes_give_zero(form: str) -> None:
    z, _ = latents()
    assert latent_term(z, z, torch.full((24,), 3), form) == 0


def test_the_direction_term_is_at_its_maximum_and_flat_where_nothing_has_moved() -> None:
    z, y = latents()
    z.requires_grad_(True)
    term = latent_term(z, z.detach(), y, "printed")
    angles = torch.stack(
        [F.cosine_similarity(a, b, dim=0) for a, b in pairs(centroids(z, y))]
    ).sum()
    assert (term - angles).item() == pytest.approx(6)  # pairs of four classes
    (both,), (angle,) = (
        torch.autograd.grad(term, z, retain_graph=True),
        torch.autograd.grad(angles, z),
    )
    assert torch.allclose(both, angle, atol=1e-12)


def pairs(c: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(c[i], c[j]) for i in range(len(c)) for j in range(i + 1, len(c))]


@pytest.mark.parametrize("form", FORMS)
def test_equals_its_slow_twin(form: str) -> None:
    (z, y), (given, _) = latents(), latents(seed=1)
    z, given = z - 0.5, given - 0.5
    new = torch.stack([z[y == k].mean(0) for k in range(4)])
    old = torch.stack([given[y == k].mean(0) for k in range(4)])
    turn = [
        float(F.cosine_similarity(p - q, a - b, dim=0))
        for (a, b), (p, q) in zip(pairs(new), pairs(old), strict=True)
    ]
    angle = [float(F.cosine_similarity(a, b, dim=0)) for a, b in pairs(new)]
    gram = new.T @ new / 4
    slip = (gram - gram.diagonal()[None, :].expand_as(gram)).square().sum().sqrt()
    expected = {
        "printed": sum(turn) + sum(angle),
        "abs": sum(map(abs, turn)) + sum(map(abs, angle)),
        "release": sum(turn) + float(slip),
    }
    assert float(latent_term(z, given, y, form)) == pytest.approx(expected[form])


@pytest.mark.parametrize("form", FORMS)
def test_neither_the_order_nor_the_names_of_the_classes_matter(form: str) -> None:
    (z, y), (given, _) = latents(), latents(seed=1)
    order = torch.randperm(24, generator=rng())
    usual = latent_term(z, given, y, form)
    assert torch.allclose(latent_term(z[order], given[order], 7 - y[order], form), usual)


def test_the_release_form_is_not_zero_for_orthogonal_centroids() -> None:
    z, y = torch.eye(4, 16, dtype=torch.float64), torch.arange(4)
    assert float(latent_term(z, z, y, "printed")) == pytest.approx(6)  # six directions, no angles
    assert float(latent_term(z, z, y, "release")) == pytest.approx(6 + (15 / 4) ** 0.5)


@pytest.mark.parametrize(("form", "least"), [("printed", -1.0), ("abs", 0.0)])
def test_the_signed_form_turns_directions_around_and_the_absolute_one_makes_them_orthogonal(
    form: str, least: float
) -> None:
    (z, y), (given, _) = latents(), latents(seed=1)
    z = (given + 0.01 * z).requires_grad_(True)
    adam = torch.optim.Adam([z], 0.05)
    for _ in range(300):
        adam.zero_grad()
        latent_term(z, given, y, form).backward()  # type: ignore[no-untyped-call]
        adam.step()
    together = zip(pairs(centroids(z.detach(), y)), pairs(centroids(given, y)), strict=True)
    cosines = [float(F.cosine_similarity(a - b, p - q, dim=0)) for (a, b), (p, q) in together]
    assert sum(cosines) / 6 == pytest.approx(least, abs=0.1)


def test_centroids_of_half_precision_latents_are_float32() -> None:
    z, y = latents()
    assert centroids(z.bfloat16(), y).dtype == torch.float32
    assert centroids(z, y).dtype == torch.float64
