"""SAU: perturbations within their radius that both models fall for, and the error that is
unlearned.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, nn

from trials.defenses._descent import CleanLoss, descend
from trials.defenses.sau import repair, shared, shared_error, toward_sharing
from trials.train import clone, make_optimizer, stream

from .tiny import fresh_view, run, same


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_perturbations_stay_within_the_radius_and_lower_what_they_aim_at() -> None:
    view, other = fresh_view(), fresh_view(seed=1).model
    x, y = view.trusted.x.float() / 255, view.trusted.y
    own, theirs = view.model(x).argmax(1), other(x).argmax(1)

    def aim(steps: int) -> float:
        delta = shared(view.model, other, x, y, 0.2, steps)
        assert float(delta.abs().max()) <= 0.2 + 1e-7
        return float(
            toward_sharing(view.model(x + delta), other(x + delta), y, own, theirs)[0].detach()
        )

    assert aim(5) < aim(0)


def test_two_equal_models_are_not_apart() -> None:
    logits = torch.randn(6, 4, generator=rng())
    y, here = torch.arange(6) % 4, logits.argmax(1)
    total, done = toward_sharing(logits, logits, y, here, here)
    assert not done.any()
    assert float(total) == pytest.approx(-0.01 * float(F.cross_entropy(logits, y)), rel=1e-5)


def test_an_answer_is_shared_if_both_changed_to_the_same_class() -> None:
    a = 5.0 * torch.eye(4)[[0, 1, 2]]
    b = 5.0 * torch.eye(4)[[0, 2, 2]]
    own, theirs = torch.tensor([3, 3, 2]), torch.tensor([3, 3, 3])
    assert toward_sharing(a, b, torch.tensor([3, 3, 3]), own, theirs)[1].tolist() == [
        True,
        False,
        False,
    ]


def test_the_shared_error_is_written_out_and_nothing_where_the_given_model_is_not_misled() -> None:
    torch.manual_seed(0)
    given = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    x, bad = torch.rand(2, 40, 1, 8, 8, generator=rng())
    y = torch.arange(40) % 4
    logits = torch.randn(40, 4, generator=rng())
    assert float(shared_error(given, logits, x, x, y)) == 0
    now, before = given(bad).argmax(1), given(x).argmax(1)
    wrong = (now != y) & (now != before)
    assert wrong.any()
    p = F.softmax(logits, 1).gather(1, now[:, None])[:, 0]
    expected = float((-(1 - p).log() * wrong).mean())
    assert float(shared_error(given, logits, x, bad, y)) == pytest.approx(expected, rel=1e-4)


def test_without_its_terms_it_is_fine_tuning_on_running_statistics() -> None:
    view = fresh_view()
    bare = run(repair(view, rng(), 9, steps=3, batch=16, unlearn=0.0, adversarial=0.0))[-1][1]
    model = clone(view.model)
    plain = descend(
        model, stream(view.trusted, 16, rng()), make_optimizer(model, "adam", 1e-4), 3, 9,
        CleanLoss(view.model, 0.0), schedule="cosine", freeze_bn=True,
    )  # fmt: skip
    expected = run(plain)[-1][1]
    assert all(torch.allclose(bare[k].float(), expected[k].float(), atol=1e-6) for k in expected)
    assert not same(bare, run(repair(view, rng(), 9, steps=3, batch=16, radius=2.0))[-1][1])
