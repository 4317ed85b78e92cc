"""FT-SAM: the length of the step up, weights that come back, statistics that move once a step."""

import pytest
import torch
from torch import Generator, Tensor, nn

from trials.defenses.fine_tuning import repair as fine_tune
from trials.defenses.ft_sam import repair
from trials.displaced import Displaced, ascent, statistics_kept
from trials.train import clone, make_optimizer

from .tiny import Calls, fresh_view, run, same, state


def rng() -> Generator:
    return Generator().manual_seed(0)


def some() -> tuple[list[Tensor], list[Tensor]]:
    sizes = [(3, 4), (5,), (2, 2, 2)]
    made = [torch.randn(2, *size, generator=rng(), dtype=torch.float64) for size in sizes]
    return [m[0] for m in made], [m[1] for m in made]


def test_the_plain_step_up_has_the_radius_as_its_length_and_follows_the_gradient() -> None:
    weights, gradients = some()
    e = torch.cat([o.flatten() for o in ascent(weights, gradients, 0.3, False)])
    g = torch.cat([g.flatten() for g in gradients])
    assert torch.allclose(e, 0.3 * g / g.norm(), atol=1e-12)


def test_the_adaptive_step_up_has_the_radius_as_its_length_over_the_weights() -> None:
    weights, gradients = some()
    ratio = torch.cat(
        [
            (o / w.abs()).flatten()
            for o, w in zip(ascent(weights, gradients, 2.0, True), weights, strict=True)
        ]
    )
    assert float(ratio.norm()) == pytest.approx(2, rel=1e-9)


def test_rescaling_the_weights_rescales_the_adaptive_step_with_them() -> None:
    """A layer times c has gradients over c where the next layer undoes it: the step must scale with
    the weights.
    """
    weights, gradients = some()
    usual = ascent(weights, gradients, 2.0, True)
    other = ascent([weights[0] * 7, *weights[1:]], [gradients[0] / 7, *gradients[1:]], 2.0, True)
    assert torch.allclose(other[0], usual[0] * 7)
    assert torch.allclose(other[1], usual[1])


def test_a_radius_of_zero_is_fine_tuning() -> None:
    view = fresh_view()
    bare = repair(view, rng(), 1, steps=4, batch=16, radius=0.0, smoothing=0.0, schedule="constant")
    plain = run(fine_tune(view, rng(), 1, steps=4, batch=16, lr=0.01))
    assert all(same(a, b) for (_, a), (_, b) in zip(run(bare), plain, strict=True))


def test_weights_are_back_before_the_optimizer_steps() -> None:
    model = clone(fresh_view().model)
    tuner = make_optimizer(model, "sgd", 0.01)
    displaced, before = Displaced(model, tuner), state(model)
    displaced.by([torch.ones_like(p) for p in model.parameters()])
    assert not same(state(model), before)
    tuner.step()  # no gradients: the step itself changes nothing
    assert same(state(model), before)


def test_statistics_move_once_a_step_and_two_gradients_are_taken() -> None:
    view = fresh_view()
    with Calls() as calls:
        (_, after) = run(repair(view, rng(), 9, steps=3, batch=16))[-1]
    assert calls.train == 6
    assert (
        int(after["bn.num_batches_tracked"]) == int(state(view.model)["bn.num_batches_tracked"]) + 3
    )


def test_kept_statistics_are_kept_and_the_batchs_own_are_used() -> None:
    model = clone(fresh_view().model).train()
    x, before = torch.rand(8, 1, 8, 8, generator=rng()), state(model)
    with statistics_kept(model):
        seen = model(x)
    assert same(state(model), before)
    assert torch.equal(seen, model(x))
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm2d))
