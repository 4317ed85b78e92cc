"""A winner is judged by its own trials, at its own step."""

from dataclasses import replace
from typing import Any

import pytest
from synthetic import config, trial, tuned, victim

from results.selection.confirmation import confirmed, frozen, pooled
from results.selection.winners import winners
from trials.spec import MethodConfig, Point, Record


def end_of(step: int, asr: float, game: str, **kwargs: Any) -> Record:
    curve = (Point(0, 0.95, 1.0), Point(step, 0.94, asr))
    metrics = {"n_triggered": 90.0, "n_clean": 100.0} | (
        {"step": float(step)} if game == "confirmation" else {}
    )
    return Record(
        trial=trial(game, "weight_decay", {"lr": 0.1}, **kwargs),
        status="done",
        metrics=metrics,
        curve=curve,
    )


def test_a_held_out_result_is_of_this_winner_at_this_step() -> None:
    (won,) = winners([config(0.1, 0.2)])
    right = end_of(50, 0.25, "confirmation")
    stale = end_of(100, 0.0, "confirmation", seed=1)
    told = confirmed(won, [right, stale])
    assert told is not None
    assert (told.eta, told.n_seeds, told.split) == (0.25, 1, "report")
    assert confirmed(won, [stale]) is None
    done = end_of(50, 0.4, "robustness", game_params={"stop_at": 50})
    other = end_of(100, 0.0, "robustness", game_params={"stop_at": 100})
    assert [j.eta for j in frozen(won, [done, other])] == [0.4]


def test_a_winner_of_a_clean_victim_is_judged_on_victims_like_it() -> None:
    clean = victim("")
    record = tuned(
        [(0, 0.95, 1.0), (50, 0.94, 0.2)], "tuning", "weight_decay", {"lr": 0.1}, of=clean
    )
    (won,) = winners([record])
    attacked = [
        end_of(50, 0.3, "robustness", of=victim(name), game_params={"stop_at": 50})
        for name in ("badnets", "wanet")
    ]
    far = end_of(50, 0.3, "robustness", of=victim(dataset="gtsrb"), game_params={"stop_at": 50})
    assert {j.victim.attacks[0].name for j in frozen(won, [*attacked, far])} == {"badnets", "wanet"}
    assert won.method == MethodConfig("weight_decay", {"lr": 0.1})


def test_many_victims_of_one_attack_are_pooled_over_models() -> None:
    (won,) = winners([config(0.1, 0.2)])
    (one,) = frozen(won, [end_of(50, 0.4, "robustness", game_params={"stop_at": 50})])
    every = pooled([replace(one, eta=eta) for eta in (0.0, 0.2, 0.7)])
    assert every.n_models == 3 and every.eta == pytest.approx(0.3)
    assert every.sd == pytest.approx(0.36056, abs=1e-4)
    assert every.interval is not None and every.interval.low < 0.1 and every.interval.high > 0.5
    assert pooled([one]) is one
