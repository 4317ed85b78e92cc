"""The tuning game on runs whose rate falls: their end is the one candidate, and patience does not
come into it.
"""

import functools

import pytest
import torch
from torch import Generator, nn

from results.selection.rules import min_asr_within_delta
from trials import catalog
from trials.games.tuning import play
from trials.reconstruction import reconstruct
from trials.runtime import DefenderContext
from trials.spec import Point, Scalar, derive
from trials.splits import cut
from trials.trial_run import Steps
from trials.types import Copy, DefenderView, TriggerGoal

from .tiny import TARGET, digits, patch


def curve(
    name: str, victim: nn.Module, patience: int, **params: Scalar
) -> tuple[list[Point], dict[str, float]]:
    """The tuning game with the backdoored net as its one copy."""
    _, trusted, _ = digits()
    fit, select, report = cut(trusted.y, 0, 1, Generator().manual_seed(0))
    ctx = DefenderContext(
        view=DefenderView(victim, trusted),
        repair=functools.partial(catalog.find("defenses", name), **params),
        inspect=None,
        copy=lambda _: Copy(victim, "badnets", TriggerGoal(patch, TARGET), fit, select, report),
        reconstructed=lambda _: reconstruct(victim, trusted, Generator().manual_seed(0)),
        once=lambda _, measure: measure(),
        rng=lambda *stages: Generator().manual_seed(derive(0, *stages)),
        save=lambda *_: None,
        checkpointer=None,
    )
    game = Steps(play(ctx, copies=1, delta=0.02, record_every=10, patience=patience, cost="both"))
    return [p for p in game if isinstance(p, Point)], game.result


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_new_head_is_given_its_time(victim: nn.Module, schedule: str) -> None:
    points, metrics = curve("fst", victim, 0, steps=40, batch=32, lr=0.1, schedule=schedule)
    assert [p.step for p in points] == [0, 40]
    assert metrics["stopped"] == float(points[-1].cda < points[0].cda - 0.02)


def test_a_falling_rate_gives_one_candidate_and_a_constant_one_gives_many(
    victim: nn.Module,
) -> None:
    falling, _ = curve("fine_tuning", victim, 3, steps=60, batch=32, lr=0.1, schedule="cosine")
    constant, _ = curve("fine_tuning", victim, 99, steps=60, batch=32, lr=0.1)
    assert [p.step for p in falling] == [0, 60]
    assert [p.step for p in constant] == [0, 10, 20, 30, 40, 50, 60]
    assert min_asr_within_delta(falling, 1.0).step == 60


def test_a_threshold_is_followed_until_patience_ends_it(victim: nn.Module) -> None:
    points, metrics = curve("clp", victim, 3, most=0.5)
    assert metrics["stopped"] == 1
    lost = [p.cda < points[0].cda - 0.02 for p in points]
    assert lost[-4:] == [True] * 4
    assert len(points) < 41
    assert torch.is_grad_enabled()
