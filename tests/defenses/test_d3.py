"""D3: the distance that it gains, the norm that it keeps, and the slack of each image."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator

from trials.classifier import Classifier
from trials.defenses.d3 import repair

from .tiny import fresh_view, run


def rng() -> Generator:
    return Generator().manual_seed(0)


def angle(**settings: object) -> float:
    view = fresh_view()
    ((_, model),) = repair(view, rng(), 99, batch=16, **settings)  # type: ignore[arg-type]
    old, new = Classifier(view.model).head.weight.detach(), Classifier(model).head.weight.detach()
    assert float(new.norm()) == pytest.approx(float(old.norm()), rel=1e-5)
    return float(F.cosine_similarity(old.flatten(), new.flatten(), 0))


def test_the_push_alone_leads_to_the_opposite_classifier() -> None:
    assert angle(steps=200, lr=0.03, push=36.0, slack=1e6) == pytest.approx(-1, abs=0.01)


def test_a_stronger_push_ends_farther_away() -> None:
    angles = [angle(steps=40, push=push) for push in (0.0, 1.0, 4.0, 36.0)]
    assert angles == sorted(angles, reverse=True)


def test_the_opposite_start_is_the_farthest_point() -> None:
    assert angle(steps=1, lr=1e-9, first="opposite") == pytest.approx(-1, abs=1e-5)


def test_a_slack_above_every_loss_leaves_the_features_alone() -> None:
    view = fresh_view()
    (_, after) = run(repair(view, rng(), 9, steps=3, batch=16, slack=1e6))[-1]
    given = dict(view.model.named_parameters())
    moved = {n for n, p in given.items() if not torch.equal(p.detach(), after[n])}
    assert moved == {"head.weight", "head.bias"}  # the bias is drawn anew
