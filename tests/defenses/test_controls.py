"""The controls: no defense, BatchNorm refresh, plain fine-tuning, and weight decay beside it."""

from typing import Any

import pytest
import torch
from torch import Generator, nn

from trials.defenses import bn_refresh, fine_tuning, none, weight_decay
from trials.spec import SpecError
from trials.types import DefenderView, Images

from .tiny import fresh_view, noise, run, same, state


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_none_yields_nothing() -> None:
    assert list(none.repair(fresh_view(), rng(), 1)) == []


def test_bn_refresh_changes_running_statistics_and_nothing_else() -> None:
    view = fresh_view()
    before, (_, after) = (
        state(view.model),
        run(bn_refresh.repair(view, rng(), 9, steps=3, batch=16))[-1],
    )
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {k for k in before if "running" in k or "tracked" in k}


def test_bn_refresh_finds_the_trusted_images_statistics() -> None:
    view = fresh_view()
    brighter = DefenderView(view.model, Images(view.trusted.x // 2, view.trusted.y, 4))
    (_, after) = run(bn_refresh.repair(brighter, rng(), 999, steps=100, batch=40))[-1]
    with torch.no_grad():
        seen = view.model.stem(brighter.trusted.x.float() / 255)  # type: ignore[operator]
    assert torch.allclose(after["bn.running_mean"], seen.mean((0, 2, 3)), atol=1e-4)


def test_bn_refresh_refuses_a_model_without_batch_norm() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(SpecError, match="batch normalisation"):
        next(bn_refresh.repair(DefenderView(plain, noise()), rng(), 1))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weight_decay_of_zero_is_plain_fine_tuning(optimizer: Any) -> None:
    usual = run(fine_tuning.repair(fresh_view(), rng(), 1, steps=4, batch=16, optimizer=optimizer))
    decay = weight_decay.repair(
        fresh_view(), rng(), 1, steps=4, batch=16, optimizer=optimizer, lambda_w=0.0
    )
    assert all(same(a, b) for (_, a), (_, b) in zip(usual, run(decay), strict=True))


def test_more_decay_leaves_smaller_weights() -> None:
    def size(lambda_w: float) -> float:
        repaired = weight_decay.repair(
            fresh_view(), rng(), 99, steps=10, batch=16, lr=0.01, lambda_w=lambda_w
        )
        return sum(float(p.detach().square().sum()) for _, m in repaired for p in m.parameters())

    sizes = [size(w) for w in (0.0, 0.01, 0.1, 1.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.9 * sizes[0]


def test_sgd_couples_the_decay_and_so_shrinks_as_momentum_does() -> None:
    view = fresh_view()
    black = DefenderView(view.model, Images(torch.zeros_like(view.trusted.x), view.trusted.y, 4))
    steps, lr, decay = 40, 0.01, 0.5
    (_, after) = run(
        weight_decay.repair(black, rng(), 99, steps=steps, batch=40, lr=lr, lambda_w=decay)
    )[-1]
    stem = state(view.model)["stem.weight"]
    buffer = torch.zeros_like(stem)
    for _ in range(steps):
        # no gradient reaches the stem from black images: the decay alone moves it
        buffer = 0.9 * buffer + decay * stem
        stem = stem - lr * (decay * stem + 0.9 * buffer)
    assert torch.allclose(after["stem.weight"], stem, atol=1e-6)
