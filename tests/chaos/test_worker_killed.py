"""A worker that is killed in the middle of a trial: the trial is started again, and the sweep is
the same.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from harness import Run, Undisturbed, outcomes, until

EXECUTORS = [
    pytest.param(False, 3, id="pool"),
    pytest.param(True, 1, id="ray", marks=pytest.mark.ray),
]


def kill_one(run: Run, rng: Random, after: int) -> bool:
    """Kill a worker that is in a trial, some time after so many starts; False if the sweep was
    over.
    """
    until(lambda: run.over or len(run.started()) >= after)
    time.sleep(rng.uniform(0, 0.2))
    while not run.over:
        latest = {e["pid"]: e for e in run.event_log()}  # of each worker its last line
        living = run.processes()
        busy = sorted(pid for pid, e in latest.items() if e["event"] == "started" and pid in living)
        if busy:
            os.kill(rng.choice(busy), signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(("use_ray", "kills"), EXECUTORS)
def test_trials_whose_workers_are_killed_run_again_and_give_the_same(
    use_ray: bool,
    kills: int,
    undisturbed: Undisturbed,
    tmp_path: Path,
    rng: Random,
    count: Callable[..., None],
) -> None:
    run = Run(tmp_path, use_ray=use_ray)
    run.start()
    killed = sum(kill_one(run, rng, 3 + 9 * i) for i in range(kills))
    assert run.end() == 0, run.said.read_text()
    said = run.said.read_text()
    again = re.search(r"(\d+) lost workers' trials were started again", said)
    # a worker may have had its record on disk when it was killed
    worker_lost = int(again.group(1)) if again else 0
    records, starts = run.records(), run.started()
    count(
        "worker killed in a trial, " + ("Ray" if use_ray else "worker processes"),
        kills=killed,
        started_again=worker_lost,
        trials=len(records),
        executions=len(starts),
        differ=sum(outcomes(undisturbed.records)[i] != o for i, o in outcomes(records).items()),
        stale=len(run.quiet()),
    )
    assert killed == kills
    assert outcomes(records) == outcomes(undisturbed.records)
    assert 1 <= worker_lost <= killed
    assert set(starts) == records.keys()
    # one may have died before it said that it began
    assert len(records) <= len(starts) <= len(records) + worker_lost
    assert not run.quiet()
    assert run.intact()
