"""Where a sweep has several tasks, 'best' and 'front' say which numbers are whose."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_sweep
from commands_run import Capture, called
from planned import record, whole

from results.store import Store
from trials.spec import Record, Trial

ASR = {"labels": 0.1, "late": 0.6}  # that is left on the copies, by their scheme


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Of one sweep whose copies are poisoned by two schemes."""

    def answer(trial: Trial) -> Record:
        planted = trial.self_poisoning
        scheme = str(planted.params.get("scheme", "labels")) if planted else "labels"
        found = record(trial, asr=ASR[scheme])
        metrics: Mapping[str, float] = {**found.metrics, "copies": 1.0}
        return replace(found, metrics=metrics)

    url = f"sqlite:///{tmp_path}/two.db"
    schemes = [{"scheme": scheme} for scheme in ASR]
    sweep = tiny_sweep.sweep(self_poisoning=schemes)
    with Store.open(url) as opened:
        opened.add_sweep("tiny", {})
        whole(sweep, opened, answer)
    return url


def blocks(text: str) -> dict[str, str]:
    """What stands under each task's name."""
    parts = re.split(r"^(scheme = \w+):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("command", ["best", "front"])
def test_each_task_has_a_table_under_its_name(command: str, capsys: Capture, store: str) -> None:
    assert called(command, "--store", store) == 0
    shown = blocks(capsys.readouterr().out)
    assert sorted(shown) == ["scheme = labels", "scheme = late"]
    for scheme, asr in ASR.items():
        told, other = shown[f"scheme = {scheme}"], ASR["late" if scheme == "labels" else "labels"]
        assert f"{asr:.1%}" in told and f"{other:.1%}" not in told


@pytest.mark.parametrize("command", ["best", "front"])
def test_programs_are_told_the_task_too(command: str, capsys: Capture, store: str) -> None:
    assert called(command, "--store", store, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    rows = found if command == "best" else [p for points in found.values() for p in points]
    assert {row["task"] for row in rows} == {"scheme = labels", "scheme = late"}


def test_the_overall_winner_of_each_task_is_marked(capsys: Capture, store: str) -> None:
    assert called("best", "--store", store) == 0
    shown = blocks(capsys.readouterr().out)
    marked: Callable[[str], list[str]] = re.compile(r"\* (\w+) +│").findall
    assert all(len(marked(text)) == 1 for text in shown.values())
