"""Path-aware minimisation: where the gradient is taken, and that weights come back."""

import pytest
import torch
from torch import Generator, Tensor, nn

from trials.defenses.fine_tuning import repair
from trials.displaced import toward
from trials.train import clone, cross_entropy, make_optimizer

from .tiny import fresh_view, run, same, state


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_the_gradient_is_taken_at_the_radius_on_the_way_to_the_given_weights() -> None:
    view = fresh_view()
    model = clone(view.model)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng()))
    tuner, here = make_optimizer(model, "sgd", 1e-9), state(model)
    seen: list[dict[str, Tensor]] = []

    def watch(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        seen.append(state(student))
        return cross_entropy(student, x, y)

    loss = toward(model, tuner, view.model, 0.3, watch)
    loss(model, view.trusted.x.float() / 255, view.trusted.y)
    names = [n for n, _ in model.named_parameters()]
    moved = torch.cat([(seen[0][n] - here[n]).flatten() for n in names])
    way = torch.cat([(view.model.state_dict()[n] - here[n]).flatten() for n in names])
    assert float(moved.norm()) == pytest.approx(0.3, rel=1e-4)
    assert float(torch.nn.functional.cosine_similarity(moved, way, 0)) == pytest.approx(1, abs=1e-5)
    tuner.step()
    assert same(state(model), here)


def test_the_first_step_has_no_direction_and_is_fine_tunings() -> None:
    view = fresh_view()
    aware, plain = (
        run(repair(view, rng(), 1, steps=2, batch=16, lr=0.01, pam=pam)) for pam in (0.5, 0.0)
    )
    assert same(aware[0][1], plain[0][1])
    assert not same(aware[1][1], plain[1][1])


def test_the_given_model_is_left_alone() -> None:
    view = fresh_view()
    before = state(view.model)
    run(repair(view, rng(), 9, steps=3, batch=16, pam=0.5))
    assert same(state(view.model), before)
