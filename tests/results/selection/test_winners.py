"""Who wins, and who never does."""

import dataclasses
import random

import pytest
import synthetic
from synthetic import CURVE, config, real, tuned, victim

from results.selection.rules import RULES, pick
from results.selection.winners import best, overall, winners
from trials.spec import Record


def test_the_lowest_mean_over_seeds_wins_not_the_luckiest_seed() -> None:
    records = [config(0.1, 0.0, 0), config(0.1, 0.6, 1), config(0.2, 0.2, 0), config(0.2, 0.2, 1)]
    (won,) = winners(records)
    assert (won.method.params["lr"], won.n_seeds, won.tried) == (0.2, 2, 2)
    assert won.eta == pytest.approx(0.2)


def test_ties_between_configurations_go_to_the_higher_cda() -> None:
    (won,) = winners(
        [config(0.1, 0.2, cda=0.935), config(0.2, 0.2, cda=0.94), config(0.3, 0.2, cda=0.93)]
    )
    assert won.method.params["lr"] == 0.2


def test_order_and_repetition_of_records_change_nothing() -> None:
    records = synthetic.sweep(n=6)
    once = winners(records)
    assert winners(random.Random(1).sample(records, len(records))) == once
    assert winners(records + records) == once


def test_failed_and_pruned_never_win_but_are_counted() -> None:
    good = config(0.1, 0.5)
    failed = Record(
        trial=config(0.2, 0.0).trial, status="failed", error="Traceback\nValueError: no"
    )
    pruned = dataclasses.replace(config(0.3, 0.0), status="pruned", metrics={})
    (won,) = winners([good, failed, pruned])
    assert (won.method.params["lr"], won.tried, won.failed, won.pruned) == (0.1, 3, 1, 1)
    assert winners([failed, pruned]) == []
    assert pick(failed) is None
    assert pick(pruned) is None


def test_what_costs_the_given_model_too_much_is_counted() -> None:
    dear = tuned([(0, 0.95, 1.0)], "tuning", "weight_decay", {"lr": 1.0})
    dear = dataclasses.replace(dear, metrics={**dear.metrics, "cda_given": 0.8})
    within = config(0.1, 0.4)
    within = dataclasses.replace(within, metrics={**within.metrics, "cda_given": 0.94})
    (won,) = winners([dear, within, config(0.2, 0.6)])
    assert (won.method.params["lr"], won.tried, won.too_costly) == (0.1, 3, 1)
    (nothing,) = winners([dear])
    assert (nothing.step, nothing.eta, nothing.too_costly) == (0, 1.0, 1)


def test_a_configuration_that_failed_on_one_seed_gives_way_to_a_whole_one() -> None:
    failed = Record(trial=config(0.1, 0.0, seed=1).trial, status="failed", error="diverged")
    lucky, whole = config(0.1, 0.0), config(0.2, 0.3)
    assert winners([lucky, failed, whole])[0].method.params["lr"] == 0.2
    assert winners([lucky, failed])[0].method.params["lr"] == 0.1


def test_a_point_outside_delta_does_not_beat_one_inside() -> None:
    dear = tuned([(0, 0.95, 1.0), (50, 0.5, 0.0)], "tuning", "weight_decay", {"lr": 1.0})
    won = winners([dear, config(0.1, 0.4)], "last")[0]
    assert won.method.params["lr"] == 0.1
    assert not winners([dear], "last")[0].within_delta


def test_the_step_is_common_to_all_seeds() -> None:
    a = tuned([(0, 0.95, 1.0), (50, 0.94, 0.0), (100, 0.94, 0.9)], seed=0)
    b = tuned([(0, 0.95, 1.0), (50, 0.94, 0.6), (100, 0.94, 0.0), (150, 0.94, 0.0)], seed=1)
    (won,) = winners([a, b])
    assert won.step == 50 and won.eta == pytest.approx(0.3)  # 150 was not reached by both


def test_interval_uses_distinct_images_and_spread_uses_all_copies() -> None:
    record = tuned([(0, 0.95, 1.0), (50, 0.94, 0.2)])
    end = dataclasses.replace(record.curve[1], extra={"asr_0": 0.1, "asr_1": 0.2, "asr_2": 0.3})
    (won,) = winners([dataclasses.replace(record, curve=(record.curve[0], end))])
    assert won.n_triggered == 90
    assert won.interval is not None and won.interval[0] < 0.2 < won.interval[1]
    assert won.sd == pytest.approx(0.1)
    (alone,) = winners([record])
    assert alone.sd is None


def test_cells_are_never_mixed() -> None:
    other = victim("wanet")
    records = [
        config(0.1, 0.2),
        tuned(CURVE, of=other),
        tuned(CURVE, trusted=0.05),
        config(0.3, 0.1, defense="nad"),
    ]
    found = winners(records)
    assert len(found) == 4
    assert len({w.task for w in found}) == 3
    assert [w.defense for w in overall(found) if w.victim == victim() and w.trusted == 0.01] == [
        "nad"
    ]


def test_doing_nothing_wins_only_if_nothing_is_better() -> None:
    idle = tuned([(0, 0.95, 0.9)], "tuning", "none")
    harmful = tuned([(0, 0.95, 0.9), (50, 0.9, 0.1)], "tuning", "nad")
    useful = tuned([(0, 0.95, 0.9), (50, 0.94, 0.89)], "tuning", "fine_tuning")
    for records, name in (([idle, harmful], "none"), ([idle, harmful, useful], "fine_tuning")):
        won = best(winners(records))
        assert won is not None
        assert won.defense == name
    assert best([]) is None


def test_oracle_winners_come_from_the_real_attack_and_are_named() -> None:
    found = winners([tuned(CURVE), real(CURVE)], "oracle")
    assert [(w.rule, w.step) for w in found] == [("oracle", 200)]
    assert "oracle" in RULES
