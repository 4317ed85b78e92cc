"""Victims that a filter is shown, one for each kind of attack."""

import pytest
from scored_rows import Attacked, attacked_with

from trials.spec import MethodConfig


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """Digits of which 60 carry a patch and another label."""
    attack = MethodConfig("badnets", {"m": 60, "target": 3})
    return attacked_with(tmp_path_factory.mktemp("badnets"), attack, 0.9)


@pytest.fixture(scope="session")
def clean_label(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """Digits of which 60 of one class carry a pattern, their labels right."""
    attack = MethodConfig("c_badnets", {"m": 60, "target": 3})
    return attacked_with(tmp_path_factory.mktemp("c_badnets"), attack, 0.0)
