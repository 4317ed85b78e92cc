"""What `benchmarks.search` makes of a curve to its end is what the tuning game gives, step for
step, and what a search costs there is what it would have cost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import tiny_sweep
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks._search_replay import Grid, Tried, as_played, halved, searched, thinned
from sweep.planning import expansion
from sweep.spec.sweep_file import Sweep
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, Point, Record, Trial

TO_THE_END = {"copies": 1, "record_every": 2, "cost": "both", "patience": 1000}
WEIGHT_DECAY = {"name": "weight_decay", "profile": "small", "fixed": {"steps": 12, "batch": 16}}


def tried(**tuning: Any) -> Sweep:
    """The grid of weight decay, nine points of 12 steps."""
    game = {**TO_THE_END, **tuning}
    return tiny_sweep.sweep(defenses=[WEIGHT_DECAY], tuning=game, confirm=False, judge=False)


def trial_of(sweep: Sweep, config: MethodConfig) -> Trial:
    (found,) = expansion.trials_of(sweep, expansion.tasks(sweep)[0], config)
    return found


def plain(points: Any) -> list[Point]:
    return [replace(p, seconds=0.0, extra=dict(p.extra)) for p in points]


@contextmanager
def counted() -> Iterator[list[int]]:
    """Grows by one with every step of any optimizer."""
    steps: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: steps.append(1))
    try:
        yield steps
    finally:
        hook.remove()


@pytest.mark.parametrize("delta", [0.0, 0.03, 1.0])
def test_a_curve_is_stopped_where_the_game_stops_it_and_costs_the_steps_it_took(
    runtime: TrialRuntime, delta: float
) -> None:
    whole = tried(delta=delta)
    config = expansion.configurations(whole, whole.defenses[0])[-1]  # the highest rate
    to_its_end = run(trial_of(whole, config), runtime)
    for patience in (0, 1, 3):
        stopped = trial_of(tried(delta=delta, cost="given", patience=patience), config)
        played = as_played(to_its_end, stopped)
        with counted() as steps:
            record = run(stopped, runtime)
        assert record.status == "done", record.error
        assert plain(played.record.curve) == plain(record.curve)
        assert played.steps == len(steps)


def grid() -> Grid:
    """Weight decay's nine points, with made-up curves: the ASR falls with the rate and lambda_w."""
    whole = tried()
    records = [
        curve_of(trial_of(whole, c)) for c in expansion.configurations(whole, whole.defenses[0])
    ]
    return Grid(whole, whole.defenses[0], expansion.tasks(whole)[0], records)


def curve_of(trial: Trial) -> Record:
    assert trial.method is not None
    lr, decay = float(trial.method.params["lr"]), float(trial.method.params["lambda_w"])
    lost = 0.0 if lr < 0.15 else 0.5
    curve = [
        Point(0, 0.9, 1.0),
        *(Point(s, 0.9 - lost, 1.0 - s * lr * decay * 40) for s in range(2, 13, 2)),
    ]
    return Record(trial=trial, status="done", curve=tuple(curve), metrics={"n_triggered": 90.0})


def test_the_grid_knows_its_best_and_what_it_cost() -> None:
    one = grid()
    assert len(one.configs) == 9
    assert one.etas[0] == pytest.approx(
        1 - 12 * 0.1 * 0.01 * 40
    )  # the highest rate ruins the model
    # patience ends three of them after four points, of the given model alone
    assert one.steps == 6 * (12 + 12) + 3 * 8
    assert 0.05 < one.slack < 0.11 and one.near == 1


def test_what_was_drawn_is_answered_by_the_nearest_point_on_its_own_scale() -> None:
    log: BaseDistribution = FloatDistribution(0.001, 0.2, log=True)
    drawn = create_trial(
        params={"lr": 0.058, "lambda_w": 0.0055},
        distributions={"lr": log, "lambda_w": log},
        value=0.0,
    )
    found = grid().nearest(drawn).record.trial.method
    assert found is not None
    # beyond the geometric means of 0.03 and 0.1, and of 0.003 and 0.01
    assert (found.params["lr"], found.params["lambda_w"]) == (0.1, 0.01)
    even: dict[str, BaseDistribution] = {
        name: FloatDistribution(0.001, 0.2) for name in ("lr", "lambda_w")
    }
    found = (
        grid()
        .nearest(create_trial(params=drawn.params, distributions=even, value=0.0))
        .record.trial.method
    )
    assert found is not None
    assert (found.params["lr"], found.params["lambda_w"]) == (0.03, 0.003)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_spends_no_more_than_it_may_and_depends_on_its_seed_alone(sampler: str) -> None:
    one = grid()
    found = searched(one, sampler, 3, 0.9)
    assert found == searched(one, sampler, 3, 0.9) != searched(one, sampler, 4, 0.9)
    shares, etas = zip(*((t.share, t.eta) for t in found), strict=True)
    assert list(shares) == sorted(shares) and 0.5 < shares[-1] <= 0.9
    assert list(etas) == sorted(etas, reverse=True) and etas[-1] >= one.etas[0]
    # the first asked for is the paper's optimum
    assert found[0].share == 24 / one.steps


def test_the_whole_grid_in_any_order_finds_its_best() -> None:
    one = grid()
    assert thinned(one, 0, 1.0)[-1] == Tried(1.0, one.etas[0])
    half = halved(one, 0, 1.0)[-1]
    # each for 6 of its 12 steps, two of the nine to the end
    assert half.eta == one.etas[0] and half.share == pytest.approx(
        (6 * 12 + 3 * 6 + 2 * 12) / one.steps
    )
