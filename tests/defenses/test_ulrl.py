"""ULRL: which classes are suspected, what is drawn anew, and what it is where nothing is."""

import math

import pytest
import torch
from torch import Generator, nn

from trials.classifier import Classifier
from trials.defenses._unlearning import unlearn
from trials.defenses.ulrl import redraw_rows, repair, suspected
from trials.train import clone, make_optimizer, stream, tune
from trials.types import DefenderView

from .tiny import TARGET, digits, fresh_view, run, same, state


def rng() -> Generator:
    return Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("moved", "deviations", "found"),
    [
        ([4.0, 5.0, 6.0, 5.0, 20.0], 3.5, [4]),
        ([4.0, 90.0, 6.0, 5.0, 80.0, 100.0, 5.5, 4.5], 3.5, [5, 1]),  # two at most, the farthest
        ([4.0, 5.0, 6.0, 5.5, -90.0], 3.5, []),  # it moved little, not much
        ([4.0, 5.0, 6.0, 5.5, 7.0], 3.5, []),
        ([4.0, 5.0, 6.0, 5.5, 7.0], 1.5, [4]),  # (7 - 5.5) / (1.4826 * 0.5) = 2.02
        ([5.0, 5.0, 5.0, 5.0, 20.0], 3.5, []),  # the median deviation is 0
        ([5.0, 20.0], 3.5, []),
    ],
)
def test_a_class_is_suspected_that_moved_unusually_far(
    moved: list[float], deviations: float, found: list[int]
) -> None:
    assert suspected(torch.tensor(moved), deviations).tolist() == found


@pytest.mark.parametrize("head", [nn.Linear(50, 6), nn.Conv2d(2, 6, 5, bias=False)])
def test_the_rows_of_suspected_classes_alone_are_drawn_anew(head: nn.Linear | nn.Conv2d) -> None:
    before, rows = state(head), torch.tensor([4, 1])
    old = redraw_rows(head, rows, rng())
    weight = head.weight.detach().flatten(1)
    assert torch.equal(old, before["weight"].flatten(1)[rows])
    changed = (weight != before["weight"].flatten(1)).any(1).nonzero().flatten()
    assert changed.tolist() == [1, 4]
    bound = math.sqrt(2 / 50)
    assert 0.9 * bound < float(weight[rows].max()) <= bound
    assert -bound <= float(weight[rows].min()) < -0.9 * bound
    if head.bias is not None:
        assert head.bias[rows].tolist() == [0, 0]
        assert torch.equal(head.bias[[0, 2, 3, 5]], before["bias"][[0, 2, 3, 5]])


def test_unlearning_moves_the_weights_of_the_backdoors_target_most(victim: nn.Module) -> None:
    _, trusted, _ = digits()
    erring = clone(victim)
    unlearn("ulrl", erring, stream(trusted, 32, rng()), 0.003, 0.2)
    head = Classifier(victim, trusted.x.shape[1:]).head.weight
    moved = (Classifier(erring, trusted.x.shape[1:]).head.weight - head).detach().abs().sum(1)
    assert suspected(moved, 3.5)[0] == TARGET


def test_the_stronger_the_push_the_farther_from_the_old_weights(victim: nn.Module) -> None:
    _, trusted, _ = digits()
    view = DefenderView(victim, trusted)
    old = Classifier(victim, trusted.x.shape[1:]).head.weight.detach()[TARGET]

    def cosine(push: float) -> float:
        settings = {"steps": 60, "batch": 32, "lr": 0.03, "unlearn_lr": 0.003, "push": push}
        ((step, model),) = repair(view, rng(), 10, **settings)  # type: ignore[arg-type]
        assert step == 60
        new = Classifier(model).head.weight.detach()[TARGET]
        return float(nn.functional.cosine_similarity(new, old, 0))

    found = [cosine(push) for push in (0.0, 3.5, 30.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] + 0.3


def test_without_a_suspect_it_is_fine_tuning_on_the_next_batches() -> None:
    view = fresh_view()

    ((_, found),) = run(
        repair(view, rng(), 9, steps=4, batch=16, stop=1.0, deviations=1e9, schedule="constant")
    )
    batches = stream(view.trusted, 16, rng())
    for _ in range(5):  # until the first look at unlearning, which stops there
        next(batches)
    model = clone(view.model)
    ((_, plain),) = run(tune(model, batches, make_optimizer(model, "sgd", 0.005), 4, 4))
    assert same(found, plain)
