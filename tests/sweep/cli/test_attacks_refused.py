"""Attacks for which there are too few rows: one line and exit code 2, before anything runs."""

from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
from commands_run import Capture, refused


@pytest.mark.parametrize(
    ("victim", "says"),
    [
        (  # a class used up: 150 digits are threes, and the patch has taken nearly all of them
            {"attacks": [[{"name": "badnets", "m": 1250}, {"name": "sinusoid", "m": 100}]]},
            "sinusoid, attack 2 on one victim, draws from the",
        ),
        (  # more attacks than rows allow
            {"attacks": [[{"name": "badnets", "m": 500, "target": t} for t in range(4)]]},
            "badnets, attack 3 on one victim, draws from the",
        ),
        (
            {"attacks": [[{"name": "badnets", "target": 1}, "blended"]], "overlap": True},
            "Give two of them the same target.",
        ),
    ],
)
def test_too_few_rows_for_the_attacks_are_one_line(
    victim: dict[str, Any], says: str, capsys: Capture, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(tiny_sweep.toml(tiny_sweep.table(victim={**tiny_sweep.VICTIM, **victim})))
    url = f"sqlite:///{tmp_path}/s.db"
    assert says in refused(capsys, "run", file, "--local", "--store", url)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.toml"]


@pytest.mark.parametrize(
    ("own", "changes", "says"),
    [
        ({"attacks": 9}, {}, "attacks = 9, but there are 7 of kinds = 'all': lower attacks."),
        (
            {"attacks": 2},
            {"beta": 0.001},
            "beta = 0.001 needs 999 rows of each attack of the defender's, got 40: raise beta",
        ),
    ],
)
def test_own_poison_that_cannot_be_is_one_line(
    own: dict[str, Any], changes: dict[str, Any], says: str, capsys: Capture, tmp_path: Path
) -> None:
    given = {**tiny_sweep.VICTIM, "reserve": 0.3}
    table = tiny_sweep.table(victim=given, game="filtering", self_poisoning=own)
    kept = {k: v for k, v in table.items() if k not in ("defenses", "tuning")}
    filters = [{"name": "spectral_signatures", "profile": "small", "reject": "recall", **changes}]
    file = tmp_path / "tiny.toml"
    file.write_text(tiny_sweep.toml({**kept, "filters": filters}))
    url = f"sqlite:///{tmp_path}/s.db"
    assert says in refused(capsys, "run", file, "--local", "--store", url)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.toml"]
