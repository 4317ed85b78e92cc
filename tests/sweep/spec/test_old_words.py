"""Words of an earlier version in a sweep's file still work, and say the new ones once."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep

from sweep.spec import sweep_file
from sweep.spec.old_words import OldWord
from trials.spec import SpecError

NEW: dict[str, Any] = {
    "self_poisoning": tiny_sweep.SELF_POISONING,
    "victim": {**tiny_sweep.VICTIM, "strategy": "one_at_a_time"},
    "defenses": [{"name": "weight_decay", "profile": "small", "strategy": "one_at_a_time"}],
}
OLD: dict[str, Any] = {
    "planting": tiny_sweep.SELF_POISONING,
    "victim": {**tiny_sweep.VICTIM, "walk": "star"},
    "defenses": [{"name": "weight_decay", "profile": "small", "walk": "star"}],
}


def old_table() -> dict[str, Any]:
    table = tiny_sweep.table(**OLD)
    del table["self_poisoning"]
    return table


def test_an_old_file_asks_for_the_same_sweep_and_warns_once_of_each_word() -> None:
    with pytest.warns(OldWord) as said:
        old = sweep_file.parse(old_table(), "tiny")
    assert old == tiny_sweep.sweep(**NEW)
    assert sorted(str(w.message).partition(";")[0] for w in said) == [
        "planting is now called self_poisoning",
        "strategy = 'star' is now called 'one_at_a_time'",
        "walk is now called strategy",
    ]


@pytest.mark.parametrize(
    ("both", "says"),
    [
        ({"planting": {}}, "planting is the old name of self_poisoning"),
        (
            {"victim": {**NEW["victim"], "walk": "grid"}},
            "walk is the old name of strategy, and both are given: remove walk",
        ),
    ],
)
def test_an_old_word_beside_the_new_one_is_refused(both: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        tiny_sweep.sweep(**both)


def test_the_command_line_says_it_in_one_line_a_word(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_text(tiny_sweep.toml(old_table()))
    words = ["-m", "poisonsweep", "plan", str(file), "--store", str(tmp_path / "s.db")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    said = done.stderr.splitlines()
    assert len(said) == 3
    assert all(s.startswith("poisonsweep: ") and s.endswith("still works.") for s in said)
