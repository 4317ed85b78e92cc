"""What a plan says is left: what follows tuning is known once that is done, and bounded before."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import tiny_sweep
from planned import by_lr, plane, record, searching, whole

from results.store import Store
from sweep.commands.plan import BEST, REAL, Line, cost_estimate
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial

COMPARING = {"name": "calibrated_inversion", "profile": "small", "limit": 3}


def left(lines: list[Line]) -> dict[str, int]:
    return {x.what: x.trials - x.done for x in lines if x.trials > x.done}


@pytest.mark.parametrize(
    "sweep",
    [
        pytest.param(tiny_sweep.sweep, id="winners"),
        pytest.param(
            lambda: plane(detectors=[COMPARING, {"name": "neural_cleanse", "profile": "small"}]),
            id="plane",
        ),
        pytest.param(lambda: searching(6, sampler="random"), id="search"),
        pytest.param(lambda: tiny_sweep.sweep(game="robustness"), id="another game"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_of_a_sweep_that_has_run_nothing_is_left(
    sweep: Callable[[], Sweep], fails: bool, store: Store
) -> None:
    def answer(trial: Trial) -> Record:
        worker_lost = fails and trial.method is not None and trial.method.name == "weight_decay"
        told = record(trial, status="failed") if worker_lost else by_lr(trial)
        tuned = trial.game.name == "detector_tuning" and not worker_lost
        return replace(told, metrics={"auc": 0.9, "margin": 0.1, "copies": 1.0}) if tuned else told

    one = sweep()
    before = cost_estimate(one, store)
    ran = whole(one, store, answer)
    after = cost_estimate(one, store)
    assert sum(left(before).values()) >= len(ran) == sum(x.done for x in after)
    assert not left(after)


def test_what_follows_is_bounded_until_tuning_is_done(store: Store) -> None:
    one = tiny_sweep.sweep()

    def answer(trial: Trial) -> Record:
        seen.append(left(cost_estimate(one, store)))
        return record(trial)

    seen: list[dict[str, Any]] = []
    whole(one, store, answer)
    assert seen[0][BEST] == seen[-4][BEST] == 1
    assert [sum(s.values()) for s in seen] == list(range(9, 0, -1))
    assert seen[-1] == {REAL: 1}


def test_an_edited_sweep_counts_what_it_still_asks_for(store: Store) -> None:
    whole(tiny_sweep.sweep(), store)
    edited = tiny_sweep.sweep(seeds=[0, 1])
    lines = {x.what: x for x in cost_estimate(edited, store)}
    assert lines["victims"].done == 1
    assert 0 < lines["weight_decay"].done < lines["weight_decay"].trials
    assert lines[REAL].done == 0
