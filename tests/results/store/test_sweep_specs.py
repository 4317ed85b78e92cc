"""Two specs under one name: what counts as asking for more, and how the rest is told."""

from typing import Any

import pytest

from results.store import Store
from results.store.sweep_specs import differences, keeps_members, modern

PRUNING = {"name": "fine_pruning", "strategy": "search", "trials": 20, "limit": 0, "fixed": {}}
BASE = {
    "victims": ["a"],
    "seeds": [0],
    "trusted": [0.05],
    "defenses": [PRUNING],
    "rule": "r",
    "oracle": False,
}


def asked(**changed: Any) -> dict[str, Any]:
    return {"asked": {**BASE, **changed}, "digest": repr(changed)}


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"victims": ["b", "a"]},
        {"seeds": [1, 0]},
        {"defenses": [{"name": "none"}, PRUNING]},
        {"defenses": [{**PRUNING, "trials": 30}]},
        {"oracle": True},
        {"a_field_of_a_later_version": 1},
    ],
)
def test_a_superset_is_no_difference_and_keeps_the_members(extra: dict[str, Any]) -> None:
    assert differences(asked(), asked(**extra)) == []
    assert keeps_members(asked(), asked(**extra))


def test_copies_of_a_spec_that_names_no_scheme_were_poisoned_by_labels() -> None:
    def poisoned(**table: Any) -> dict[str, Any]:
        return asked(game="tuning", self_poisoning=[table])

    before, labels = poisoned(batch=64), poisoned(batch=64, scheme="labels")
    assert differences(before, labels) == differences(labels, before) == []
    assert keeps_members(before, labels)
    (told,) = differences(before, poisoned(batch=64, scheme="distilled"))
    assert told.startswith("self_poisoning: {'scheme': 'labels'")
    own = asked(game="filtering", self_poisoning=[{"attacks": 4}])
    assert modern(own)["asked"]["self_poisoning"] == [{"attacks": 4}]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"victims": ["b"]}, "victims: 1 of 1 are other ones"),
        ({"seeds": []}, "seeds: 0 there,  here"),
        ({"trusted": [0.01]}, "trusted: 0.05 there, 0.01 here"),
        ({"defenses": []}, "defenses: 'fine_pruning' is left out"),
        (
            {"defenses": [{**PRUNING, "trials": 10}]},
            "defenses: 'fine_pruning' has other settings (trials)",
        ),
        (
            {"defenses": [{**PRUNING, "limit": 6}]},
            "defenses: 'fine_pruning' has other settings (limit)",
        ),
        (
            {"defenses": [{**PRUNING, "fixed": {"lr": 1}}]},
            "defenses: 'fine_pruning' has other settings (fixed)",
        ),
        ({"rule": "other"}, "rule: r there, other here"),
    ],
)
def test_anything_else_is_told(other: dict[str, Any], told: str) -> None:
    (found,) = differences(asked(), asked(**other))
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("before", "after", "extra"), [(6, 0, True), (6, 7, True), (0, 7, False), (6, 5, False)]
)
def test_a_grid_of_which_more_points_are_run_asks_for_more(
    before: int, after: int, extra: bool
) -> None:
    few, whole = (
        [{"name": "nad", "strategy": "grid", "limit": limit}] for limit in (before, after)
    )
    assert (differences(asked(defenses=few), asked(defenses=whole)) == []) is extra


def test_a_spec_of_the_first_version_is_compared_by_what_it_has() -> None:
    old = {"digest": "1", "seeds": [0], "defenses": ["nad"]}
    new = {"digest": "2", "seeds": [0], "defenses": ["nad"], "asked": BASE}
    assert differences(old, new) == []
    assert not keeps_members(old, new)
    assert keeps_members(old, {**new, "digest": "1"})
    assert differences(old, {**new, "seeds": [1]}) == ["seeds: 0 there, 1 here"]


def test_a_longer_search_keeps_the_sweeps_members(store: Store, make_record: Any) -> None:
    store.add_sweep("s", asked())
    store.put(make_record(), "s")
    store.add_sweep("s", asked(defenses=[{**PRUNING, "trials": 30}]))
    assert len(store.records("s")) == 1
