"""A task's name says what tells it apart, and no more."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import synthetic
from synthetic import tuned

from results.selection.fronts import fronts_of
from results.selection.task_names import natural, task_names
from trials.spec import MethodConfig, Record, Scalar, Victim

CURVE = [(0, 0.95, 1.0), (50, 0.94, 0.2)]


def of(
    victim: Victim | None = None, planted: Mapping[str, Scalar] | None = None, curve: Any = None
) -> Record:
    record = tuned(curve or CURVE, of=victim)
    copies = MethodConfig("self_poison", {"lr": 0.1, **(planted or {})})
    return replace(record, trial=replace(record.trial, self_poisoning=copies))


def names(*records: Record) -> list[str]:
    return list(task_names(records, "tuning").values())


def test_one_task_needs_no_name() -> None:
    assert names(of()) == [""]
    assert not names()


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"seed": 0}, {"seed": 1}, ["seed 0", "seed 1"]),
        ({"attack": "badnets"}, {"attack": ""}, ["badnets (m = 500)", "clean"]),
        ({"dataset": "digits"}, {"dataset": "cifar10"}, ["digits", "cifar10"]),
        # both are 'badnets (m = 500)'
        ({"patch": 3, "target": 0}, {"patch": 3, "target": 7}, ["target = 0", "target = 7"]),
    ],
)
def test_what_differs_of_victims_is_said(
    first: Mapping[str, Any], second: Mapping[str, Any], told: list[str]
) -> None:
    assert names(of(synthetic.victim(**first)), of(synthetic.victim(**second))) == told


def test_victims_with_and_without_a_reserve_are_told_apart() -> None:
    plain = synthetic.victim()
    assert names(of(plain), of(replace(plain, reserve=0.05))) == [
        "reserve = 0 %",
        "reserve = 5 %",
    ]


def test_the_scheme_tells_ways_to_poison_copies_apart_where_other_settings_follow_from_it() -> None:
    schemes: list[dict[str, Scalar]] = [
        {"lr": 0.05},  # of before there were schemes
        {"scheme": "late", "lr": 0.1, "steps": 1300},
        {"scheme": "distilled", "lr": 0.1, "steps": 400},
    ]
    told = names(*(of(planted=scheme) for scheme in schemes))
    assert told == ["scheme = labels", "scheme = late", "scheme = distilled"]
    other = synthetic.victim(seed=1)
    told = names(of(other, {"scheme": "late"}), *(of(planted=scheme) for scheme in schemes[1:]))
    assert told == ["seed 1", "seed 0, scheme = late", "seed 0, scheme = distilled"]


def test_tasks_without_a_telling_setting_have_their_ids() -> None:
    first, second = names(of(synthetic.victim(patch=3)), of(synthetic.victim(patch=3, text="a")))
    assert first != second and first.startswith("[") and second.startswith("[")


def test_shares_that_differ_little_are_told_apart() -> None:
    records = [tuned(CURVE, trusted=0.0101), tuned(CURVE, trusted=0.0102)]
    assert names(*records) == ["r = 1.01 %", "r = 1.02 %"]


def test_names_are_sorted_with_numbers_by_size() -> None:
    assert sorted(["seed 10", "seed 2", ""], key=natural) == ["", "seed 2", "seed 10"]


def test_a_front_compares_points_on_copies_that_were_poisoned_alike() -> None:
    harsh = [(0, 0.95, 1.0), (50, 0.94, 0.7)]
    fronts = fronts_of([of(planted={"scheme": "labels"}), of(None, {"scheme": "late"}, harsh)])
    found = [(p["task"], p["step"], p["asr"]) for p in fronts["weight_decay"]]
    assert found == [
        ("scheme = labels", 50, 0.2),
        ("scheme = labels", 0, 1.0),
        ("scheme = late", 50, 0.7),
        ("scheme = late", 0, 1.0),
    ]
