"""Rules on hand-made curves."""

import dataclasses
import math
import random
from typing import Any

import pytest
from synthetic import CURVE, real, tuned

from results.selection.rules import pick
from results.selection.winners import winners
from trials.spec import SpecError


@pytest.mark.parametrize(
    ("rule", "step"), [("min_asr_within_delta", 200), ("last_before_delta", 100), ("last", 250)]
)
def test_each_rule_takes_its_point(rule: str, step: int) -> None:
    found = pick(tuned(CURVE), rule)
    assert found is not None
    assert (found.point.step, found.rule) == (step, rule)


def test_step_zero_qualifies_and_eta_never_exceeds_the_start() -> None:
    record = tuned([(0, 0.95, 0.5), (50, 0.95, 0.9), (100, 0.5, 0.0)])
    for rule in ("min_asr_within_delta", "last_before_delta"):
        found = pick(record, rule)
        assert found is not None
        assert found.point.cda >= 0.93
    found = pick(record)
    assert found is not None
    assert found.point.step == 0


def test_ties_go_to_the_higher_cda_then_to_fewer_steps() -> None:
    found = pick(tuned([(0, 0.95, 1.0), (50, 0.94, 0.1), (100, 0.945, 0.1), (150, 0.945, 0.1)]))
    assert found is not None
    assert found.point.step == 100


def test_a_loss_of_exactly_delta_is_allowed_in_binary_too() -> None:
    for start in (0.97, 0.95, 0.92, 0.83, 0.61):
        found = pick(tuned([(0, start, 1.0), (50, round(start - 0.02, 2), 0.0)]))
        assert found is not None
        assert found.point.step == 50


def test_the_realisable_rule_looks_at_the_validation_accuracy_only() -> None:
    seen = [0.90, 0.90, 0.87, 0.90, 0.90, 0.90]  # falls at step 100; the test CDA falls at 150
    found = pick(real(CURVE, seen), "last_before_delta")
    assert found is not None
    assert found.point.step == 50
    unseen = pick(real(CURVE), "last_before_delta")
    assert unseen is not None
    assert unseen.point.step == 100


def test_delta_comes_from_the_trial_unless_it_is_given() -> None:
    wide = tuned(CURVE, game_params={"delta": 0.1})
    assert [
        p.point.step for p in (pick(wide), pick(wide, delta=0.02), pick(tuned(CURVE))) if p
    ] == [150, 200, 200]


def test_the_order_of_points_does_not_matter() -> None:
    record = tuned(CURVE)
    shuffled = dataclasses.replace(
        record, curve=tuple(random.Random(0).sample(record.curve, len(CURVE)))
    )
    for rule in ("min_asr_within_delta", "last_before_delta", "last"):
        a, b = pick(record, rule), pick(shuffled, rule)
        assert a is not None and b is not None
        assert a.point == b.point


def test_a_start_that_is_only_in_the_metrics_counts() -> None:
    record = tuned([(0, 0.95, 0.4), (50, 0.90, 0.3)])
    found = pick(dataclasses.replace(record, curve=record.curve[1:]))
    assert found is not None
    assert (found.point.step, found.point.asr) == (0, 0.4)


def test_oracle_is_only_for_the_real_attack() -> None:
    found = pick(real(CURVE), "oracle")
    assert found is not None
    assert found.point.step == 200
    with pytest.raises(SpecError, match="test set"):
        pick(tuned(CURVE), "oracle")


def test_an_unknown_rule_is_named_with_its_neighbour() -> None:
    for call in (lambda: pick(tuned(CURVE), "orcale"), lambda: winners([], "orcale")):
        with pytest.raises(SpecError, match="Did you mean 'oracle'"):
            call()


@pytest.mark.parametrize("where", ["cda", "asr"])
def test_nan_is_refused_not_ranked(where: str) -> None:
    record = tuned(CURVE)
    changed: dict[str, Any] = {where: math.nan}
    point = dataclasses.replace(record.curve[2], **changed)
    broken = dataclasses.replace(record, curve=(*record.curve[:2], point))
    for call in (lambda: pick(broken), lambda: winners([broken])):
        with pytest.raises(ValueError, match="step 100 is not finite"):
            call()
