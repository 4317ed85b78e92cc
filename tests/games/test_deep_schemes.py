"""The schemes that plant a backdoor deeper: by the gradient of the worst point near the weights,
and with what the backdoor needs held while the copy is tuned on clean images.
"""

import pytest
import tiny_sweep
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sweep.spec.sweep_file import Sweep
from trials.displaced import ascent
from trials.run import run
from trials.runtime import TrialRuntime
from trials.self_poisoning import objective
from trials.self_poisoning.elastic import Elastic
from trials.self_poisoning.objective import Objective
from trials.self_poisoning.schemes import RADIUS, SCHEMES, STIFFNESS
from trials.train import cross_entropy, make_optimizer

STEPS = 10


def some(n: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=rng), torch.randint(3, (n,), generator=rng)


def network() -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    return model, make_optimizer(model, "sgd", 0.1)


def losses(
    scheme: str, model: nn.Module, optimizer: torch.optim.Optimizer, done: int = 0
) -> Objective:
    return Objective(
        SCHEMES[scheme], cross_entropy, model, optimizer, STEPS, done, lambda: some(8, 1)
    )


def gradient(loss: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_importance_is_the_mean_squared_gradient_of_single_images() -> None:
    model, optimizer = network()
    x, y = some()
    Elastic(optimizer, 1.0).hold(model, x, y)
    with torch.no_grad():
        wrong = model(x).softmax(1) - F.one_hot(y, 3)  # the gradient of the logits, an image a row
    held = optimizer.state[model.weight]
    squares = (wrong[:, :, None] * x[:, None, :]).square().mean(0)
    assert torch.allclose(held["importance"], squares, rtol=1e-5)
    bias = optimizer.state[model.bias]["importance"]
    assert torch.allclose(bias, wrong.square().mean(0), rtol=1e-5)
    assert torch.equal(held["anchor"], model.weight) and model.training


def test_the_pull_is_none_where_the_weights_are_held_and_grows_with_the_square_of_the_way() -> None:
    model, optimizer = network()
    elastic = Elastic(optimizer, 3.0)
    elastic.hold(model, *some())
    assert elastic.pull(model).item() == 0
    with torch.no_grad():
        model.weight[1, 2] += 0.5
    once = elastic.pull(model).item()
    assert once == pytest.approx(0.75 * float(optimizer.state[model.weight]["importance"][1, 2]))
    with torch.no_grad():
        model.weight[1, 2] += 0.5
    assert elastic.pull(model).item() == pytest.approx(4 * once)


@pytest.mark.parametrize("scheme", ["sam", "sbl"])
def test_the_first_gradient_is_that_of_the_worst_point_near_the_weights(scheme: str) -> None:
    model, optimizer = network()
    x, y = some()
    weights = [p.detach().clone() for p in model.parameters()]
    here = gradient(cross_entropy(model, x, y), model)
    offsets = ascent(weights, here, RADIUS, adaptive=True)
    moved = nn.Linear(4, 3)
    for parameter, weight, offset in zip(moved.parameters(), weights, offsets, strict=True):
        parameter.data = weight + offset
    worst = gradient(cross_entropy(moved, x, y), moved)
    found = gradient(losses(scheme, model, optimizer)(model, x, y), model)
    assert all(torch.allclose(a, b) for a, b in zip(found, worst, strict=True))
    assert not torch.allclose(found[0], here[0])


def test_the_second_task_holds_the_weights_where_the_first_left_them() -> None:
    model, optimizer = network()
    x, y = some()
    loss = losses("sbl", model, optimizer)
    for step in range(2 * STEPS):
        optimizer.zero_grad()
        before, value = model.weight.detach().clone(), loss(model, x, y)
        bare = float(cross_entropy(model, x, y).detach())
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        place = step % STEPS
        if place == 6:
            anchor = before
        if place >= 6:
            assert torch.equal(optimizer.state[model.weight]["anchor"], anchor)
            assert value.item() == pytest.approx(bare) if place == 6 else value.item() > bare
        assert SCHEMES["sbl"].stamped(place / STEPS) == (place < 6)


def test_a_run_that_goes_on_within_the_second_task_keeps_what_it_was_held_by() -> None:
    model, optimizer = network()
    x, y = some()
    losses("sbl", model, optimizer, done=6)(model, x, y)
    with torch.no_grad():
        model.weight += 0.1
    held = {k: v.clone() for k, v in optimizer.state[model.weight].items()}
    value = losses("sbl", model, optimizer, done=7)(model, x, y)
    assert value.item() > cross_entropy(model, x, y).item()
    assert all(torch.equal(v, held[k]) for k, v in optimizer.state[model.weight].items())


@pytest.mark.parametrize(
    ("scheme", "name", "usual"), [("sam", "RADIUS", RADIUS), ("sbl", "STIFFNESS", STIFFNESS)]
)
def test_radius_and_stiffness_decide_the_copy(
    sweep: Sweep, runtime: TrialRuntime, monkeypatch: pytest.MonkeyPatch, scheme: str, name: str,
    usual: float,
) -> None:  # fmt: skip
    trial = tiny_sweep.copy_trial(sweep, scheme=scheme, lr=0.1)
    ends = set[float]()
    for value in (usual, usual / 10):
        monkeypatch.setattr(objective, name, value)
        ends.add(run(trial, runtime).metrics["cosine"])
    assert len(ends) == 2
