"""Feature shift tuning: the new head's norm, its direction, and what of the loss is whose."""

from types import ModuleType

import pytest
import torch
from torch import Generator

from trials.classifier import Classifier
from trials.defenses import d3, fst, ulrl
from trials.defenses._heads import redraw
from trials.defenses.fst import repair
from trials.models import clip_vit_b32
from trials.spec import SpecError
from trials.types import DefenderView, Images

from .tiny import Calls, fresh_view, noise, run


def rng() -> Generator:
    return Generator().manual_seed(0)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_head_has_the_given_heads_norm_and_the_run_one_point(schedule: str) -> None:
    view = fresh_view()
    ((step, model),) = repair(view, rng(), 2, steps=7, batch=16, schedule=schedule)  # type: ignore[arg-type]
    assert step == 7
    given = float(Classifier(view.model).head.weight.detach().norm())
    assert float(Classifier(model).head.weight.detach().norm()) == pytest.approx(given, rel=1e-5)


def test_a_stronger_push_ends_farther_from_the_old_head() -> None:
    view = fresh_view()
    old = Classifier(view.model).head.weight.detach().flatten()

    def angle(alpha: float) -> float:
        ((_, model),) = repair(view, rng(), 99, steps=40, batch=16, alpha=alpha)
        new = Classifier(model).head.weight.detach().flatten()
        return float(torch.nn.functional.cosine_similarity(new, old, 0))

    angles = [angle(alpha) for alpha in (0.0, 0.3, 1.0, 3.5, 10.0)]
    assert angles == sorted(angles, reverse=True)
    assert angles[-1] < -0.8


def test_starts_from_a_new_head_on_the_given_features() -> None:
    view = fresh_view()
    ((_, after),) = run(repair(view, rng(), 9, steps=1, batch=16, lr=1e-9))
    twin = fresh_view().model
    head = Classifier(twin).head
    redraw(head, rng())  # the generator's first draws
    direction = head.weight / head.weight.norm()
    assert torch.allclose(after["head.weight"] / after["head.weight"].norm(), direction, atol=1e-5)
    assert torch.allclose(after["stem.weight"], view.model.state_dict()["stem.weight"], atol=1e-6)


@pytest.mark.parametrize(("distill", "passes"), [(0.0, 0), (0.5, 3), (1.0, 3)])
def test_the_given_model_is_asked_only_for_its_outputs(distill: float, passes: int) -> None:
    view = fresh_view()
    assert Classifier(view.model, view.trusted.x.shape[1:]).head  # found once, in a pass of its own
    with Calls() as calls:
        run(repair(view, rng(), 9, steps=3, batch=16, distill=distill))
    assert (calls.train, calls.eval) == (3, passes)


@pytest.mark.parametrize("defense", [fst, d3, ulrl])
def test_refuses_a_head_that_is_not_trained(defense: ModuleType) -> None:
    model = clip_vit_b32.build(4, 8, architecture="tiny").eval()
    images = noise()
    view = DefenderView(model, Images(images.x.expand(-1, 3, -1, -1), images.y, 4))
    with pytest.raises(SpecError, match="last linear layer that is trained"):
        next(defense.repair(view, rng(), 1, steps=1))
