"""Defenses that go wrong in every way: each costs one failed record that says why, and nothing else
changes.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Run, Undisturbed, agree, defense, outcomes, spec_with, victim_with
from programs import Program

EXECUTORS = [pytest.param(False, id="pool"), pytest.param(True, id="ray", marks=pytest.mark.ray)]
FAULTS = {
    "raises": "RuntimeError: this defense is broken",
    "memory": "MemoryError",
    "nan": "ArithmeticError: the model diverged: its logits are not finite",
    "killed": "its worker was lost 2 times: ",
    "exits": "its worker was lost 2 times: ",
}
# two that end a worker, each in its way; a worker there takes seconds to start
ON_RAY = ("memory", "killed")
ONE = {"seeds": [0], "victim": victim_with(seeds=[0])}


def faulty(how: str) -> dict[str, Any]:
    return {"name": "faulty", "profile": "small", "fixed": {"how": how}}


@pytest.mark.parametrize("use_ray", EXECUTORS)
def test_each_fault_costs_one_failed_record_and_no_more(
    use_ray: bool, undisturbed: Undisturbed, tmp_path: Path, count: Callable[..., None]
) -> None:
    diverging = {**defense("weight_decay"), "fixed": {"steps": 4, "batch": 16, "lr": 1e30}}
    faults = {how: FAULTS[how] for how in (ON_RAY if use_ray else FAULTS)}
    defenses = [defense("fine_tuning"), *map(faulty, faults), diverging]
    # most are meant to fail
    compute = {"device": "cpu", "workers": 2, "attempts": 2, "abort_at": 1}
    run = Run(
        tmp_path, spec_with(tmp_path, **ONE, defenses=defenses, compute=compute), use_ray=use_ray
    )
    said = run.complete()
    records = run.records()
    failed = [r for r in records.values() if r.status == "failed"]
    errors = {
        str(r.trial.method.params.get("how", "lr")): str(r.error) for r in failed if r.trial.method
    }
    count(
        "defenses that fail, " + ("Ray" if use_ray else "worker processes"),
        faults=len(faults) + 1,
        failed_records=len(failed),
        trials=len(records),
        executions=len(run.started()),
        stale=len(run.quiet()),
    )
    assert len(failed) == len(faults) + 1
    assert all(last in errors[how].strip().splitlines()[-1] for how, last in faults.items()), errors
    assert "not finite" in errors["lr"]
    assert not any(r.metrics for r in failed)
    assert agree({i: r for i, r in records.items() if r.status == "done"}, undisturbed.records, 3)
    # these take their worker with them, twice each
    again = sum(how in faults for how in ("killed", "exits"))
    assert len(run.started()) == len(records) + again
    assert f"({len(failed)} failed, 0 pruned)" in said
    status = Program(
        ["-m", "sweep.cli", "status", "--store", run.store, "--json"], ROOT, os.environ
    )
    shown = json.loads(status.communicate()[0])
    assert status.returncode == 0
    assert {f["trial"] for f in shown["failures"]} == {r.trial.id for r in failed}
    said = run.complete()
    assert "ran 0 trials" in said
    assert "--retry-failed" in said
    assert outcomes(run.records()) == outcomes(records)


def test_a_trial_that_hangs_is_ended_at_its_time_limit(
    undisturbed: Undisturbed, tmp_path: Path, count: Callable[..., None]
) -> None:
    compute = {"device": "cpu", "workers": 2, "time_limit": 15}
    run = Run(
        tmp_path,
        spec_with(
            tmp_path, **ONE, defenses=[defense("fine_tuning"), faulty("hangs")], compute=compute
        ),
    )
    run.complete()
    records = run.records()
    failed = [r for r in records.values() if r.status == "failed"]
    count(
        "a trial that hangs",
        faults=1,
        failed_records=len(failed),
        trials=len(records),
        stale=len(run.quiet()),
    )
    assert [r.trial.method.params["how"] for r in failed if r.trial.method] == ["hangs"]
    assert "time limit" in str(failed[0].error)
    assert agree({i: r for i, r in records.items() if r.status == "done"}, undisturbed.records, 3)
    assert not run.quiet()
