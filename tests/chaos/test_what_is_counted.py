"""The count itself: a record that is lost, changed or made twice, and a process that stays, are
seen.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import tiny_sweep
from counting import VERDICTS, repeated
from harness import MARK, ROOT, Run, frozen, is_helper
from kills import Killing

from benchmarks import _reliability_page as page
from results.store import Store
from sweep.execution.event_log import note
from sweep.execution.outbox import Outbox
from sweep.execution.worker import WorkerConfig
from sweep.planning import expansion
from trials.spec import Record


@pytest.fixture
def records() -> list[Record]:
    trials = expansion.victims(tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "seeds": [0, 1, 2]}))
    return [Record(trial=t, status="done", metrics={"cda": 0.5}, seconds=1.0) for t in trials]


def looking(run: Run) -> Killing:
    return Killing(lambda _: run, Random(0), {}, 1.0)


def left(folder: Path, stored: list[Record], pending: list[Record], started: list[Record]) -> Run:
    """A folder as a run leaves it."""
    run = Run(folder)
    with Store.open(run.store) as store:
        store.put_many(stored)
    for record in pending:
        Outbox(WorkerConfig(str(run.artifacts))).put(record)
    for record in started:
        note(run.artifacts, record.trial.id, "started")
    return run


def test_what_was_kept_is_clean(records: list[Record], tmp_path: Path) -> None:
    killing = looking(run := left(tmp_path, records[:1], records[1:2], records[2:]))
    there = killing._look(run, frozen({r.trial.id: r for r in records[:2]}), 0, True)
    assert killing.tally.clean()
    assert set(there) == {r.trial.id for r in records[:2]}
    assert (killing.tally.pending, killing.tally.cut_short, killing.tally.records_at_risk) == (
        1,
        1,
        2,
    )


def test_a_lost_record_is_seen(records: list[Record], tmp_path: Path) -> None:
    killing = looking(run := left(tmp_path, records[:1], [], []))
    killing._look(run, frozen({r.trial.id: r for r in records[:2]}), 0, True)
    assert killing.tally.lost == [records[1].trial.id]
    assert not killing.tally.clean()


def test_a_changed_record_is_seen(records: list[Record], tmp_path: Path) -> None:
    killing = looking(run := left(tmp_path, [replace(records[0], seconds=2.0)], [], []))
    killing._look(run, frozen({records[0].trial.id: records[0]}), 0, True)
    assert killing.tally.changed == [records[0].trial.id]


@pytest.mark.parametrize("starts", [1, 2])
def test_a_trial_that_ran_again_is_seen(starts: int, records: list[Record], tmp_path: Path) -> None:
    killing = looking(run := left(tmp_path, records[:1], [], records[:1] * starts))
    known = frozen({records[0].trial.id: records[0]}) if starts == 1 else {}
    killing._look(run, known, 0, False)
    assert killing.tally.twice == [records[0].trial.id]


@pytest.mark.parametrize(("again", "worker_lost"), [(0, 0), (1, 1), (1, 0)])
def test_a_start_that_no_lost_worker_accounts_for_is_seen(
    again: int, worker_lost: int, records: list[Record], tmp_path: Path
) -> None:
    """As when a node is removed: a start a record, and one for each trial that was lost with it."""
    run = left(tmp_path, records, [], [*records, *records[:again]])
    assert repeated(run.artifacts, run.records(), worker_lost) == again - worker_lost


def test_a_removed_node_has_its_row_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks._reliability_page import worker_rows  # noqa: PLC0415  (no part of the package)

    line = {
        "what": "a node is removed in a trial, Ray",
        "kills": 1,
        "started_again": 1,
        "trials": 11,
        "executions": 12,
    }
    row = "| a node is removed in a trial, Ray | 1 | 1 | 12 for 11 | 0 | 0 |"
    assert worker_rows([{**line, "differ": 0, "stale": 0}]) == [row]


def test_a_process_that_stays_is_seen(tmp_path: Path) -> None:
    run = Run(tmp_path)
    words = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(
        words, env={**os.environ, MARK: run.mark}, stdout=subprocess.PIPE
    ) as stays:
        assert stays.stdout is not None
        stays.stdout.readline()
        assert list(run.processes()) == [stays.pid]
        stays.kill()
    assert not run.quiet()


def test_a_helper_of_rays_is_told_from_the_node_that_starts_it() -> None:
    script = "/x/ray/dashboard/agent.py"
    assert is_helper("ray::DashboardAgent")
    assert is_helper(f"/x/python -u {script} --node-id=1")
    assert not is_helper(
        f"/x/raylet --a=b --c=d --e=f --dashboard_agent_command=/x/python -u {script} --node-id=1"
    )
    assert not is_helper("ray::IDLE")


def test_an_outbox_that_says_other_than_the_store_is_seen(
    records: list[Record], tmp_path: Path
) -> None:
    run = left(tmp_path, records[:1], [replace(records[0], metrics={"cda": 0.25})], [])
    with pytest.raises(AssertionError, match="differ"):
        run.records()
    assert json.loads(next((run.artifacts / "outbox").iterdir()).read_text())["metrics"] == {
        "cda": 0.25
    }


def test_each_verdict_of_hostile_input_has_its_column_on_the_page() -> None:
    kinds = {
        "a": {"tried": 1003, "refused": 1000, "contained": 2, "accepted": 1, "crashed": 0},
        # counted before there was such a column
        "b": {"tried": 5, "refused": 4, "accepted": 0, "crashed": 1},
    }
    assert page.VERDICTS == VERDICTS
    assert page.hostile_rows({"kinds": kinds}) == [
        "| a | 1,003 | 1,000 | 2 | 1 | 0 |",
        "| b | 5 | 4 | 0 | 0 | 1 |",
        "| **all** | 1,008 | 1,004 | 2 | 1 | 1 |",
    ]
    head = next(line for line in page.TEXT.splitlines() if line.startswith("| input"))
    assert head == f"| input | tried | {' | '.join(VERDICTS)} |"
