"""Training in which the attacker has every second step: what those steps may change, and what the
others see.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from planted import planted
from torch import Generator, Tensor, nn

from trials import catalog
from trials.datasets import digits
from trials.models import resnet18
from trials.train import augment, shuffled, to_float
from trials.types import Control, Images, Poisoning

TRAINING = ["fast", "paper"]
NONE = torch.zeros(0, dtype=torch.int64)


def few(n: int = 40) -> Images:
    return digits.load("train", size=8).take(torch.arange(n))


def white(x: Tensor, index: Tensor) -> Tensor:
    out = x.clone()
    out[:, :, :3, :3] = 255
    return out


def half(model: nn.Module) -> list[Tensor]:
    rng = Generator().manual_seed(4)
    return [torch.rand(p.shape, generator=rng) < 0.5 for p in model.parameters()]


def every(value: bool) -> Callable[[nn.Module], list[Tensor]]:
    return lambda model: [torch.full(p.shape, value) for p in model.parameters()]


def controlled(control: Control | None, boost: int = 1) -> Poisoning:
    return planted(few(), NONE, white, 7, boost, control=control)


def untrained() -> nn.Module:
    torch.manual_seed(0)
    return resnet18.build(10, 8, width=4).to(memory_format=torch.channels_last)


def run(
    name: str, model: nn.Module, backdoor: Poisoning, **settings: Any
) -> tuple[list[dict[str, Tensor]], Generator]:
    """The model's state after each epoch, and the generator."""
    rng = Generator().manual_seed(0)
    fit = catalog.find("recipes", name)(
        model, backdoor, rng, **{"batch": 40, "precision": "fp32", **settings}
    )
    return [{k: v.clone() for k, v in model.state_dict().items()} for _ in fit], rng


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", TRAINING)
def test_the_attackers_steps_change_nothing_outside_the_masks(name: str) -> None:
    model = untrained()
    start = {k: v.clone() for k, v in model.state_dict().items()}
    masks = dict(zip(dict(model.named_parameters()), half(model), strict=True))
    # With as many images a batch as there are, an epoch is a step.
    states, _ = run(name, model, controlled(Control(half, 0.5)), epochs=8)
    for step, (before, after) in enumerate(zip([start, *states[:-1]], states, strict=True), 1):
        moved = {k: before[k] != after[k] for k in masks}
        outside = torch.cat([moved[k][~masks[k]] for k in masks]).double().mean()
        inside = torch.cat([moved[k][masks[k]] for k in masks]).double().mean()
        assert inside > 0.9
        assert outside == 0 if step % 2 == 0 else outside > 0.9


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("frozen", [True, False])
def test_the_attackers_steps_keep_batchnorms_statistics_only_if_told_so(
    name: str, frozen: bool
) -> None:
    states, _ = run(name, untrained(), controlled(Control(half, 0.5, frozen)), epochs=4)
    buffers = [{k: v for k, v in s.items() if "running" in k or "tracked" in k} for s in states]
    assert len(buffers[0]) == 60 and not same(buffers[1], buffers[2])
    assert same(buffers[0], buffers[1]) == same(buffers[2], buffers[3]) == frozen


@pytest.mark.parametrize("name", TRAINING)
def test_with_nothing_to_change_the_attackers_steps_leave_the_model_as_it_is(name: str) -> None:
    states, _ = run(name, untrained(), controlled(Control(every(False), 1.0)), epochs=4)
    assert (
        same(states[0], states[1]) and same(states[2], states[3]) and not same(states[1], states[2])
    )


@pytest.mark.parametrize("name", TRAINING)
def test_at_half_the_pace_the_attackers_first_step_is_half_as_long(name: str) -> None:
    runs = [
        run(name, untrained(), controlled(Control(half, 0.5, True, pace)), epochs=2)[0]
        for pace in (0.5, 1.0)
    ]
    assert same(runs[0][0], runs[1][0])
    slow, fast = ((after["conv1.weight"] - before["conv1.weight"]) for before, after in runs)
    assert fast.abs().max() > 1e-4 and torch.allclose(2 * slow, fast, atol=1e-6)


def by_hand(part: int, epochs: int, lr: float) -> nn.Module:
    """Plain training, with two optimizers in turn; the second's batches are mixed."""
    model, data, rng = untrained(), few(), Generator().manual_seed(0)
    settings: dict[str, Any] = {"momentum": 0.9, "weight_decay": 5e-4, "foreach": True}
    optimizers = [torch.optim.SGD(model.parameters(), lr, **settings) for _ in range(2)]
    batches = shuffled(torch.arange(40), 10, rng)
    model.train()
    for step in range(epochs * 4):
        index = next(batches)
        x, y = augment(data.x[index], rng, data.pad, data.flip), data.y[index]
        if step % 2:
            x[:part], y[:part] = white(x[:part], index), 7
        optimizers[step % 2].zero_grad()
        F.cross_entropy(model(to_float(x)), y).backward()  # type: ignore[no-untyped-call]
        optimizers[step % 2].step()
    return model


def test_with_everything_to_change_it_is_plain_training_on_mixed_batches_with_two_momenta() -> None:
    states, _ = run(
        "paper",
        untrained(),
        controlled(Control(every(True), 0.3, False)),
        epochs=1,
        batch=10,
        lr=0.05,
    )
    assert same(by_hand(3, 1, 0.05).state_dict(), states[-1])
    assert not same(by_hand(4, 1, 0.05).state_dict(), states[-1])


class Seen(nn.Module):
    """A model that keeps what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 10)
        self.batches: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append((x.detach() * 255).round().to(torch.uint8))
        logits: Tensor = self.fc(x.flatten(1))
        return logits


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize(("part", "count"), [(0.01, 1), (0.1, 1), (0.25, 2), (1.0, 10)])
def test_part_of_every_second_batch_is_stamped_also_across_epochs(
    name: str, part: float, count: int
) -> None:
    model = Seen()  # five steps an epoch
    run(
        name,
        model,
        planted(few(50), NONE, white, 7, control=Control(half, part)),
        epochs=2,
        batch=10,
    )
    stamped = [int((x[:, :, :3, :3] == 255).flatten(1).all(1).sum()) for x in model.batches]
    assert stamped == [0, count] * 5


@pytest.mark.parametrize("name", TRAINING)
def test_no_control_and_none_give_the_same_weights_and_a_control_other_ones_by_the_same_draws(
    name: str,
) -> None:
    settings = {"epochs": 2, "batch": 10}
    absent, rng = run(name, untrained(), planted(few(), NONE, white, 7), **settings)
    none, rng_none = run(name, untrained(), controlled(None), **settings)
    some, rng_some = run(name, untrained(), controlled(Control(half, 0.5)), **settings)
    assert same(absent[-1], none[-1]) and not same(absent[-1], some[-1])
    assert torch.equal(rng.get_state(), rng_none.get_state()) and torch.equal(
        rng.get_state(), rng_some.get_state()
    )


@pytest.mark.parametrize("name", TRAINING)
def test_boost_and_frozen_keep_their_meaning_beside_a_control(name: str) -> None:
    data, places = few(), torch.tensor([3, 17])
    model = Seen()
    backdoor = planted(data, places, lambda x, _: x, 7, 3, True, Control(half, 0.5))
    run(name, model, backdoor, epochs=2, batch=1)
    seen = torch.cat(model.batches)
    assert len(seen) == 2 * (40 + 2 * 2)
    assert [int((seen == data.x[i]).flatten(1).all(1).sum()) for i in (3, 17)] == [6, 6]


def test_training_leaves_the_images_of_a_controlled_backdoor_alone() -> None:
    backdoor = controlled(Control(half, 1.0))
    before = (backdoor.train.x.clone(), backdoor.train.y.clone())
    run("paper", untrained(), backdoor, epochs=2, batch=10)
    assert torch.equal(backdoor.train.x, before[0]) and torch.equal(backdoor.train.y, before[1])
