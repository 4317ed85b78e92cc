"""What the gradient defenses share: the falling rate, clipping, distillation, and a new head."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, nn

from trials.classifier import Classifier
from trials.defenses._descent import CleanLoss, descend, divergence
from trials.defenses._heads import redraw, rescale
from trials.train import clone, make_optimizer, stream

from .tiny import fresh_view, run, same, state


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_the_rate_falls_along_half_a_cosine_to_nothing() -> None:
    view = fresh_view()
    model = clone(view.model)
    tuner = make_optimizer(model, "sgd", 0.2)
    seen: list[float] = []
    batches = stream(view.trusted, 16, rng())
    found = [
        step
        for step, _ in descend(
            model,
            batches,
            tuner,
            10,
            3,
            schedule="cosine",
            after=lambda _: seen.append(tuner.param_groups[0]["lr"]),
        )
    ]
    assert found == [10]  # points on the way down are no candidates
    assert seen == pytest.approx([0.2 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)])


def test_a_constant_rate_is_the_plain_loop_and_may_be_stopped_anywhere() -> None:
    view = fresh_view()
    model = clone(view.model)
    tuner = make_optimizer(model, "sgd", 0.01)
    assert [s for s, _ in descend(model, stream(view.trusted, 16, rng()), tuner, 5, 2)] == [2, 4, 5]
    assert tuner.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_clipping_bounds_a_step_and_leaves_small_gradients_alone(clip: float) -> None:
    view, ends = fresh_view(), []
    for largest in (0.0, clip):
        model = clone(view.model)
        tuner = torch.optim.SGD(model.parameters(), 1.0)
        ends += [
            w
            for _, w in run(
                descend(model, stream(view.trusted, 16, rng()), tuner, 1, 1, clip=largest)
            )
        ]
    names = [n for n, _ in view.model.named_parameters()]
    moved = math.sqrt(sum(float((ends[1][n] - state(view.model)[n]).square().sum()) for n in names))
    if clip < 1:
        assert moved == pytest.approx(clip, rel=1e-3)
    else:
        assert same(ends[0], ends[1])


def test_the_divergence_is_the_sum_written_out() -> None:
    mine, theirs = torch.randn(2, 6, 5, generator=rng(), dtype=torch.float64)
    p, q = F.softmax(theirs / 2, 1), F.softmax(mine / 2, 1)
    assert torch.allclose(divergence(mine, theirs), 4 * (p * (p / q).log()).sum(1))
    assert float(divergence(mine, mine + 3).abs().max()) == pytest.approx(0, abs=1e-12)


def test_distillation_is_a_share_between_labels_and_the_given_model() -> None:
    view = fresh_view()
    x, y = view.trusted.x.float() / 255, view.trusted.y
    student = fresh_view(seed=1).model
    labels, half, soft = (
        float(CleanLoss(view.model, share)(student, x, y).detach()) for share in (0.0, 0.5, 1.0)
    )
    assert labels == float(F.cross_entropy(student(x), y).detach())
    assert half == pytest.approx((labels + soft) / 2, rel=1e-5)
    assert float(CleanLoss(view.model, 1.0)(view.model, x, y).detach()) == pytest.approx(
        0, abs=1e-6
    )


def test_smoothing_spreads_a_label_over_the_other_classes() -> None:
    view = fresh_view()
    x, y = view.trusted.x.float() / 255, view.trusted.y
    logits = view.model(x).detach()
    wanted = torch.full((len(y), 4), 0.1 / 3).scatter(1, y[:, None], 0.9)
    smooth = CleanLoss(view.model, 0.0, smoothing=0.1)
    assert float(smooth.of(logits, x, y)) == pytest.approx(
        float(F.cross_entropy(logits, wanted)), rel=1e-5
    )


def test_a_new_head_is_as_pytorch_draws_it_and_keeps_the_old_norm() -> None:
    view = fresh_view()
    model = clone(view.model)
    head = Classifier(model).head
    assert isinstance(head, nn.Linear) and head.bias is not None
    old = redraw(head, rng())
    assert torch.equal(old, Classifier(view.model).head.weight)
    bound = 1 / math.sqrt(head.in_features)
    for drawn in (head.weight, head.bias):
        assert float(drawn.detach().abs().max()) <= bound
    assert float(head.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.3)
    rescale(head, torch.linalg.vector_norm(old))
    assert float(head.weight.detach().norm()) == pytest.approx(float(old.norm()), rel=1e-6)


def test_a_head_without_a_bias_is_drawn_too() -> None:
    bare = nn.Linear(6, 3, bias=False)
    redraw(bare, rng())
    assert bare.bias is None
