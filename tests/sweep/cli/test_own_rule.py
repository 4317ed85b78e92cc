"""``best``, ``report`` and Python choose by the sweep's own rule, unless they are given another."""

import json
from pathlib import Path

import pytest
import tiny_sweep
from commands_run import Capture, called
from pandas import read_csv
from planned import record, whole

from results.selection.contenders import rule_of
from results.selection.rules import DEFAULT_RULE
from results.store import Store
from sweep import api

OWN, OTHER = "mean_within_delta", "last"


def stored(folder: Path, rule: str) -> str:
    """A sweep that chooses by that rule, run."""
    url = f"sqlite:///{folder}/own.db"
    sweep = tiny_sweep.sweep()
    with Store.open(url) as opened:
        opened.add_sweep("tiny", {"rule": rule})
        whole(sweep, opened, record)
    return url


def test_the_sweeps_own_rule_chooses(tmp_path: Path, capsys: Capture) -> None:
    store = stored(tmp_path, OWN)
    assert called("best", "--store", store) == 0
    assert f"by the rule {OWN}" in " ".join(capsys.readouterr().out.split())
    assert called("best", "--store", store, "--json") == 0
    assert {w["rule"] for w in json.loads(capsys.readouterr().out)} == {OWN}
    assert {w.rule for w in api.best("tiny", store)} == {OWN}
    assert called("export", "--store", store, "--tables", tmp_path / "tables") == 0
    assert set(read_csv(tmp_path / "tables" / "winners.csv")["rule"]) == {OWN}
    assert api.report("tiny", store, out=tmp_path / "page.html").rule == OWN


def test_unless_another_is_given(tmp_path: Path, capsys: Capture) -> None:
    store = stored(tmp_path, OWN)
    assert called("best", "--store", store, "--rule", OTHER, "--json") == 0
    assert {w["rule"] for w in json.loads(capsys.readouterr().out)} == {OTHER}
    assert {w.rule for w in api.best("tiny", store, OTHER)} == {OTHER}


@pytest.mark.parametrize("rule", ["", "of_a_later_version"])
def test_a_sweep_without_a_known_rule_has_the_default(tmp_path: Path, rule: str) -> None:
    with Store.read(stored(tmp_path, rule)) as store:
        assert rule_of(store.sweeps()[0]) == DEFAULT_RULE
