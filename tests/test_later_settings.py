"""Settings that a defense was given later leave the ids of what was stored before alone."""

import pytest

from trials import catalog
from trials.spec import LATER, MethodConfig, content_id

BEFORE = {  # of the defaults, when these defenses had no such setting
    "fine_pruning": "654bc5445def7447",
    "fine_tuning": "95fd7efa5f9443ba",
    "nad": "58e12e3d613dc7b7",
    "neural_cleanse": "a3349fc14f49a866",
    "pivotal_tuning": "d2f7b0792a658f41",
    "weight_decay": "5268ac92fa6b723f",
}


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_the_id_is_what_it_was(name: str) -> None:
    assert content_id(catalog.resolve("defenses", MethodConfig(name)).identity()) == BEFORE[name]


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_the_default_is_what_was_done_before(name: str) -> None:
    settings = catalog.describe("defenses", name).settings
    later = {key: settings[key].default for key in LATER[name] if key in settings}
    assert {"schedule", "clip", "distill"} <= set(later)
    assert later == {key: LATER[name][key] for key in later}


@pytest.mark.parametrize(
    ("key", "value"), [("schedule", "cosine"), ("clip", 1.0), ("distill", 0.5), ("pam", 0.5)]
)
def test_another_value_is_another_id(key: str, value: float | str) -> None:
    turned = catalog.resolve("defenses", MethodConfig("fine_tuning", {key: value}))
    assert content_id(turned.identity()) != BEFORE["fine_tuning"]


def test_a_method_that_had_the_setting_from_its_beginning_keeps_it_in_its_id() -> None:
    assert MethodConfig("fst", {"clip": 0.0}).identity()["params"] == {"clip": 0.0}
