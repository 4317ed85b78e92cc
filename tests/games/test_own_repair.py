"""A repair behind a filter, measured by the defender's own poison."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Generator, nn

from trials.datasets import digits
from trials.games import own_repair
from trials.metrics import accuracy, success
from trials.models import small_cnn
from trials.own_repairs import OwnRepairContext
from trials.runtime import generator
from trials.self_poisoning.own_rows import own_rows
from trials.trial_run import Steps
from trials.types import DefenderView


class Always(nn.Module):
    """Says one class of every image."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label, self.weight = label, nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(torch.full((len(x),), self.label), 10) * self.weight


@pytest.fixture(scope="module")
def ctx() -> OwnRepairContext:
    """Two attacks, of which the second was not learned; the model says the first's target."""
    settings: dict[str, Any] = {"attacks": 2, "least": 0.001, "most": 0.02, "kinds": "flipped"}
    own = own_rows(
        digits.load("train", size=16).take(torch.arange(300)),
        900,
        partial(generator, 0),
        **settings,
    )
    torch.manual_seed(0)
    before = small_cnn.build(10, 16, width=8).eval()
    return OwnRepairContext(
        view=DefenderView(Always(own.goals[0].target), own.probes),
        repair=lambda view, rng, every: iter(()),
        own=own,
        learned=(0.9, 0.1),
        before=lambda: before,
        device="cpu",
        rng=partial(generator, 0),
    )


def played(ctx: OwnRepairContext, **settings: Any) -> tuple[list[Any], Any]:
    game = Steps(own_repair.play(ctx, **settings))
    return list(game), game.result


def test_the_worst_of_the_learned_attacks_counts_on_images_held_back(ctx: OwnRepairContext) -> None:
    (start,), metrics = played(ctx)
    held, (first, second) = ctx.own.held, ctx.own.names
    assert start.asr == start.extra[f"asr/{first}"] == 1 and start.extra[f"asr/{second}"] == 0
    assert start.cda == pytest.approx(float((held.y == ctx.own.goals[0].target).double().mean()))
    assert metrics["cda_before"] == accuracy(ctx.before(), held)
    assert metrics["own_learned"] == 1 and metrics["n_held"] == len(held)
    (of_all,), _ = played(replace(ctx, learned=(0.1, 0.1)))  # none was learned: all count
    assert of_all.asr == 1


def test_a_repair_gets_the_filters_images_and_is_measured_at_each_of_its_points(
    ctx: OwnRepairContext,
) -> None:
    other = Always(ctx.own.goals[1].target)

    def repair(view: DefenderView, rng: Generator, every: int) -> Iterator[tuple[int, nn.Module]]:
        assert view.trusted is ctx.own.probes and every == 5
        yield from ((5 * i, other) for i in range(1, 9))

    points, _ = played(replace(ctx, repair=repair), record_every=5, patience=20)
    assert [p.step for p in points] == list(range(0, 41, 5))
    # it says the target of the second attack, which does not count
    goal = ctx.own.goals[0]
    assert points[1].asr == success(other, goal.cases(ctx.own.held)) == 0
    assert points[1].extra[f"asr/{ctx.own.names[1]}"] == 1


def test_a_repair_stops_once_it_costs_too_much(ctx: OwnRepairContext) -> None:
    right, wrong = (goal.target for goal in ctx.own.goals)
    labels = torch.full_like(ctx.own.held.y, right)
    labels[0] = wrong  # the given model is right of all but one
    held = replace(ctx.own.held, y=labels)
    own = replace(ctx.own, held=held)
    dear = replace(ctx, own=own, repair=lambda *_: ((i, Always(wrong)) for i in range(1, 9)))
    assert [p.step for p in played(dear, delta=0.1, patience=1)[0]] == [0, 1, 2]
    assert len(played(dear, delta=1.0, patience=1)[0]) == 9
