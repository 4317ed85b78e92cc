"""ASHA stops what the sweep's rule would pass over: by ASR within Δ, not ASR alone; not before it
had a chance.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_sweep
from planned import trials

from sweep.execution.ray_tune.schedulers import Asha, first_rung, group_of, standing
from trials.spec import MethodConfig, Point, Trial

RULE = "min_asr_within_delta"
BEFORE = Point(0, 0.9, 1.0)
GOOD, RUINED, USELESS = (0.89, 0.2), (0.1, 0.0), (0.9, 1.0)


def curve(*points: tuple[float, float]) -> list[Point]:
    return [BEFORE, *(Point(2 * i, cda, asr) for i, (cda, asr) in enumerate(points, 1))]


@pytest.mark.parametrize("rule", ["min_asr_within_delta", "last_before_delta", "last"])
def test_a_curve_without_a_point_within_delta_stands_last(rule: str) -> None:
    (trial,) = trials(1)
    order = [curve(GOOD), curve((0.9, 0.5)), curve(USELESS), curve((0.8, 0.0)), curve(RUINED)]
    standings = [standing(trial, c, rule)["standing"] for c in order]
    assert standings == sorted(standings)
    assert standings[0] == 0.2
    assert standings[2] == 1.0
    assert len(set(standings)) == 5


def test_the_rule_chooses_among_the_points_so_far_and_the_start_is_none() -> None:
    (trial,) = trials(1)
    assert standing(trial, [BEFORE], RULE) == {}
    assert standing(trial, curve(RUINED, GOOD, RUINED), RULE) == {"standing": 0.2, "reports": 3}
    assert standing(trial, curve(GOOD, RUINED), "last")["standing"] > 1


class Tuned:
    """A trial of Tune's, and the points that it reports one by one."""

    def __init__(self, trial: Trial, *points: tuple[float, float]) -> None:
        self.trial, self.curve = trial, curve(*points)
        self.own: Any = SimpleNamespace(
            trial_id=str(id(self)),
            config={"group": group_of(trial), "first_rung": first_rung(trial)},
        )
        self.stopped_after = 0

    def report(self, asha: Asha, number: int) -> None:
        if not self.stopped_after and number < len(self.curve):
            result = standing(self.trial, self.curve[: number + 1], RULE)
            if asha.on_trial_result(None, self.own, result) == "STOP":
                self.stopped_after = number


def run(*some: Tuned) -> None:
    """All report in turns, as workers do, the first first."""
    asha = Asha({})
    for one in some:
        asha.on_trial_add(None, one.own)
    for number in range(max(len(one.curve) for one in some)):
        for one in some:
            one.report(asha, number)


def test_what_ruins_the_model_is_stopped_and_stops_no_other() -> None:
    (trial,) = trials(1)
    ruined, good = Tuned(trial, *[RUINED] * 20), [Tuned(trial, *[GOOD] * 20) for _ in range(4)]
    run(ruined, *good)
    assert not any(one.stopped_after for one in good)
    lease_lost = Tuned(trial, *[RUINED] * 20)
    run(*good, lease_lost)
    assert lease_lost.stopped_after == first_rung(trial)


def test_what_costs_accuracy_at_first_and_wins_it_back_is_not_stopped() -> None:
    """As long as its game lets it be beyond Δ."""
    (trial,) = trials(1)
    patience = int(trial.game.params["patience"])
    assert first_rung(trial) == patience + 1
    others = [Tuned(trial, *[(0.9, 0.5)] * 20) for _ in range(4)]
    slow = Tuned(trial, *[RUINED] * patience, *[GOOD] * 20)
    run(*others, slow)
    assert not slow.stopped_after


def test_defenses_and_ways_of_self_poisoning_are_not_compared() -> None:
    (trial,) = trials(1)
    assert trial.method is not None and trial.self_poisoning is not None
    defense = replace(trial, method=MethodConfig("fine_tuning", trial.method.params))
    planted = replace(
        trial,
        self_poisoning=MethodConfig(
            trial.self_poisoning.name, {**trial.self_poisoning.params, "share": 0.4}
        ),
    )
    assert len({group_of(t) for t in (trial, defense, planted)}) == 3
    weak = [Tuned(defense, *[USELESS] * 20), Tuned(planted, *[USELESS] * 20)]
    run(*(Tuned(trial, *[GOOD] * 20) for _ in range(8)), *weak)
    assert not any(one.stopped_after for one in weak)


def test_only_a_tuned_trial_has_a_group() -> None:
    sweep = tiny_sweep.sweep()
    assert not group_of(tiny_sweep.first(sweep, "training"))
    assert not group_of(tiny_sweep.first(sweep, "self_poison"))
