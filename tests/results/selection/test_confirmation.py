"""A winner is judged by its own trials, at its own step."""

from dataclasses import replace
from typing import Any

import pytest
from synthetic import config, of_kinds, trial, tuned, victim

from results.selection.confirmation import confirmed, frozen, pooled
from results.selection.winners import Winner, winners
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


def on_copies(left: dict[str, float], scheme: str = "distilled", seed: int = 0) -> Record:
    """A confirmation on copies of these kinds of trigger, poisoned by the scheme."""
    before = {f"asr/{kind}": 1.0 for kind in left}
    after = {f"asr/{kind}": asr for kind, asr in left.items()}
    eta = sum(left.values()) / len(left)
    curve = (Point(0, 0.95, 1.0, extra=before), Point(50, 0.94, eta, extra=after))
    record = end_of(50, eta, "confirmation", seed=seed)
    planted = MethodConfig("self_poison", {"attack": "mixed", "scheme": scheme})
    return replace(record, trial=replace(record.trial, self_poisoning=planted), curve=curve)


def winner_by(scheme: str) -> Winner:
    (won,) = winners([of_kinds(config(0.1, 0.01), patch=0.01, adaptive=0.01)])
    planted = MethodConfig("self_poison", {"attack": "mixed", "scheme": scheme})
    return replace(won, trial=replace(won.trial, self_poisoning=planted))


@pytest.mark.parametrize("warped_first", [True, False])
def test_a_kind_that_one_seeds_copies_lack_still_counts(warped_first: bool) -> None:
    both = [
        on_copies({"patch": 0.0, "adaptive": 0.02, "warp": 0.9}, seed=0),
        on_copies({"patch": 0.02, "adaptive": 0.02}, seed=1),
    ]
    told = confirmed(winner_by("distilled"), both if warped_first else both[::-1])
    assert told is not None
    assert told.kinds == pytest.approx({"patch": 0.01, "adaptive": 0.02, "warp": 0.9})
    assert told.eta == pytest.approx(0.9) and not told.repaired


def test_a_winner_is_not_confirmed_by_copies_that_were_poisoned_in_another_way() -> None:
    records = [
        on_copies({"patch": 0.04, "adaptive": 0.09}),
        on_copies({"patch": 0.0, "adaptive": 0.0}, "labels"),
    ]
    told = confirmed(winner_by("distilled"), records)
    assert told is not None and told.n_seeds == 1
    assert told.kinds == pytest.approx({"patch": 0.04, "adaptive": 0.09})
    assert confirmed(winner_by("late"), records) is None
