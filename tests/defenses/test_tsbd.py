"""TSBD: which weights are cut, the gradient it descends by, and what it is without either."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.defenses.tsbd import filters, flattening, repair, zero
from trials.train import clone, cross_entropy, make_optimizer, stream, tune

from .tiny import Calls, fresh_view, run, same, state

SHAPE = (1, 8, 8)


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_filters_are_rows_of_all_layers_but_the_last() -> None:
    model = fresh_view().model
    names = {id(p): name for name, p in model.named_parameters()}
    found = [names[id(weight)] for weight in filters(model, SHAPE)]
    layers = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert set(found) == layers and len(found) == len(layers)
    alone = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    assert [w.shape for w in filters(alone, SHAPE)] == [(4, 64)]


@pytest.mark.parametrize(
    ("share", "part", "kept"),
    [
        # of five filters two, whose eight weights changed by 1 to 4 and 5 to 8: four of them
        (0.5, 0.5, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
        (0.5, 0.75, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
        (0.2, 0.25, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]]),
        (0.19, 1.0, [[1, 1, 1, 1]] * 5),
        (1.0, 1.0, [[0, 0, 0, 0]] * 5),
    ],
)
def test_the_weights_that_changed_most_are_cut_of_the_filters_that_did(
    share: float, part: float, kept: list[list[int]]
) -> None:
    first = torch.tensor([[0.1, 0.1, 0.1, 0.1], [1.0, 2.0, 3.0, 4.0], [0.2, 0.2, 0.2, 0.2]])
    second = torch.tensor([[0.0, 0.0, 0.0, 9.0], [5.0, 6.0, 7.0, 8.0]])
    weights = [nn.Parameter(torch.ones(3, 1, 2, 2)), nn.Parameter(torch.ones(2, 4))]
    zero(weights, [first, second.minimum(torch.tensor(8.0))], share, part)
    assert torch.cat([w.detach().flatten(1) for w in weights]).tolist() == kept


def test_of_weights_that_changed_alike_no_more_are_cut() -> None:
    weights = [nn.Parameter(torch.ones(4, 10))]
    changed = torch.zeros(4, 10)
    changed[1:3, 4] = 1.0
    zero(weights, [changed], 0.5, 0.7)
    assert int((weights[0] == 0).sum()) == 14
    assert (weights[0][1:3, 4] == 0).all() and (weights[0][[0, 3]] == 1).all()


def test_only_filters_are_cut_and_as_many_as_asked_for() -> None:
    view = fresh_view()
    given, number = state(view.model), sum(len(w) for w in filters(view.model, SHAPE))
    before: set[tuple[str, int]] = set()
    for share in (0.0, 0.2, 0.5):
        ((_, found),) = run(
            repair(view, rng(), 9, steps=1, batch=16, stop=1.0, lr=1e-9, share=share, part=1.0)
        )
        moved = {k for k in given if (found[k] - given[k]).abs().max() > 1e-3}
        cut: set[tuple[str, int]] = set()
        for key in (k for k in moved if "running" not in k and "num_batches" not in k):
            assert given[key].ndim == 4
            rows = (found[key].abs().flatten(1).max(1).values < 1e-6).nonzero().flatten()
            cut |= {(key, int(row)) for row in rows}
        assert len(cut) == int(share * number)
        assert before <= cut
        before = cut


def test_the_gradient_is_a_mixture_of_that_here_and_that_a_step_up() -> None:
    view = fresh_view()
    model = clone(view.model).train()
    twin, weights = clone(view.model).train(), state(model)
    x, y = next(stream(view.trusted, 16, rng()))
    tuner = make_optimizer(model, "sgd", 0.0)
    loss = flattening(model, tuner, 0.05, 0.7, cross_entropy)
    with Calls() as calls:
        loss(model, x, y).backward()  # type: ignore[no-untyped-call]
    assert calls.train == 2
    here = slopes(twin, x, y)
    with torch.no_grad():
        for p, g in zip(twin.parameters(), here, strict=True):
            p.add_(0.05 * g / g.norm().clamp_min(1e-12))
    there = slopes(twin, x, y)
    for p, g, up in zip(model.parameters(), here, there, strict=True):
        assert p.grad is not None
        assert torch.allclose(p.grad, 0.3 * g + 0.7 * up, rtol=1e-3, atol=1e-5)
    assert any(not torch.allclose(g, up, rtol=0.05) for g, up in zip(here, there, strict=True))
    tuner.step()
    now = state(model)
    assert all(torch.equal(now[k], weights[k]) for k, _ in model.named_parameters())
    assert int(now["bn.num_batches_tracked"]) == int(weights["bn.num_batches_tracked"]) + 1


def slopes(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters())))


@pytest.mark.parametrize("off", [{"alpha": 0.0}, {"radius": 0.0}])
def test_without_cut_and_step_it_is_fine_tuning_on_the_next_batches(off: dict[str, float]) -> None:
    view = fresh_view()
    settings = {"steps": 4, "batch": 16, "stop": 1.0, "share": 0.0, "schedule": "constant", **off}
    found = run(repair(view, rng(), 4, **settings))  # type: ignore[arg-type]
    batches = stream(view.trusted, 16, rng())
    for _ in range(5):  # until the first look at unlearning, which stops there
        next(batches)
    model = clone(view.model)
    plain = run(tune(model, batches, make_optimizer(model, "sgd", 0.01), 4, 4))
    assert all(same(a, b) for (_, a), (_, b) in zip(found, plain, strict=True))
