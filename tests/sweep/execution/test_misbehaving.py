"""A trial that hangs, runs out of memory or raises is one failed record; the sweep goes on, or
stops where all fail.
"""

from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
import tiny_sweep
from made_up import Made
from planned import trials
from waiting import alive

from results.store import Store
from sweep.execution import process_pool, runner
from sweep.execution.outbox import Outbox
from sweep.execution.progress import Aborted
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.planning.strategy import ListStrategy
from sweep.spec.compute import Compute
from trials.spec import Record, Trial

LIMIT = 2.0


def pooled(scheduler: Scheduler, worker_config: WorkerConfig, compute: Compute) -> None:
    process_pool.ProcessPool(worker_config, 2, compute).run(scheduler)


def on_ray(scheduler: Scheduler, worker_config: WorkerConfig, compute: Compute) -> None:
    from ray import cloudpickle  # noqa: PLC0415

    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    cloudpickle.register_pickle_by_value(made_up)  # type: ignore[no-untyped-call]  # workers of Ray have no path to the tests
    RayTune(worker_config, compute).run(scheduler)


@pytest.fixture(autouse=True)
def _one_ray(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("running_ray")


EXECUTORS = [pooled, pytest.param(on_ray, marks=[pytest.mark.ray, pytest.mark.slow])]
Executor = Callable[[Scheduler, WorkerConfig, Compute], None]


def run(
    executor: Executor,
    store: Store,
    some: list[Trial],
    worker_config: WorkerConfig,
    **compute: float,
) -> Scheduler:
    shares = Compute(device="cpu", workers=2, **compute)  # type: ignore[arg-type]
    scheduler = Scheduler(
        iter([[ListStrategy("made up", some)]]),
        store,
        "tiny",
        shares.attempts,
        abort_at=shares.abort_at,
    )
    executor(scheduler, worker_config, shares)
    assert scheduler.over
    return scheduler


def failed(store: Store) -> Record:
    """The only failed record."""
    (found,) = (r for r in store.records("tiny") if r.status == "failed")
    return found


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("how", ["sleeps", "holds the lock"])
def test_a_trial_that_hangs_is_ended_at_the_time_limit_once(
    executor: Executor, how: str, store: Store, tmp_path: Path
) -> None:
    some = trials(5)
    worker_config = Made(str(tmp_path), troubled=some[1].id, trouble=how)
    progress = run(executor, store, some, worker_config, time_limit=LIMIT).progress
    assert (progress.done, progress.failed, progress.worker_lost) == (4, 1, 0)
    record = failed(store)
    assert record.trial.id == some[1].id
    assert str(record.error).splitlines()[-1] == "time limit of 2 s"
    assert "made_up.py" in str(record.error)  # where it hung
    assert sorted(i for i, _ in worker_config.starts()) == sorted(t.id for t in some)
    assert not any(alive(pid) for _, pid in worker_config.starts()) or executor is on_ray
    assert not list((tmp_path / "outbox").iterdir())


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_worker_that_ran_out_of_memory_runs_no_other_trial(
    executor: Executor, store: Store, tmp_path: Path
) -> None:
    some = trials(6)
    worker_config = Made(str(tmp_path), troubled=some[0].id, trouble="memory")
    progress = run(executor, store, some, worker_config, attempts=3).progress
    assert (progress.done, progress.failed, progress.worker_lost) == (5, 1, 0)
    assert "MemoryError" in str(failed(store).error)
    starts = worker_config.starts()
    assert len(starts) == 6
    hurt = next(pid for i, pid in starts if i == some[0].id)
    assert [i for i, pid in starts if pid == hurt][-1] == some[0].id
    assert not Outbox(worker_config).pending()


def test_time_that_a_trial_waits_for_its_driver_does_not_count(
    store: Store, tmp_path: Path
) -> None:
    import time  # noqa: PLC0415

    worker_config = Made(str(tmp_path), time_limit=0.5)
    from sweep.execution.worker import perform  # noqa: PLC0415

    (trial,) = trials(1)
    steps = perform(trial, worker_config)
    next(steps)
    time.sleep(0.8)
    assert len(list(steps)) == 2


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_sweep_of_which_all_fails_stops_early(
    executor: Executor, store: Store, tmp_path: Path
) -> None:
    some = trials(40)
    worker_config = Made(str(tmp_path), troubled="all", trouble="raises")
    scheduler = run(executor, store, some, worker_config, abort_at=0.5)
    assert 10 <= scheduler.progress.failed < 14
    with pytest.raises(
        Aborted,
        match=r"sweep tiny stopped: 1\d of 1\d .* with: ValueError: a wrong set-up.*run again",
    ):
        scheduler.check()
    assert len(store.records("tiny")) == scheduler.progress.failed


def test_one_that_fails_among_many_stops_nothing(store: Store, tmp_path: Path) -> None:
    some = trials(12)
    worker_config = Made(str(tmp_path), troubled=some[3].id, trouble="raises")
    scheduler = run(pooled, store, some, worker_config, abort_at=0.5)
    scheduler.check()
    assert (scheduler.progress.done, scheduler.progress.failed) == (11, 1)


def test_a_stopped_sweep_goes_on(store: Store, tmp_path: Path) -> None:
    some = trials(40)
    run(pooled, store, some, Made(str(tmp_path), troubled="all", trouble="raises"), abort_at=1)
    before = len(store.records("tiny"))
    scheduler = run(pooled, store, some, Made(str(tmp_path)), abort_at=1)
    scheduler.check()
    assert (scheduler.progress.done, scheduler.progress.stored) == (40 - before, before)


@pytest.mark.slow
def test_real_trials_that_diverge_or_raise_are_one_failed_record_each(
    store: Store, tmp_path: Path
) -> None:
    held = {"profile": "small", "limit": 1}
    defenses = [
        {"name": "fine_tuning", **held, "fixed": {"steps": 6, "batch": 16, "lr": 1e20}},
        {"name": "weight_decay", **held, "fixed": {"steps": 6, "batch": 16}},
    ]
    sweep = tiny_sweep.sweep(
        defenses=defenses, compute={"device": "cpu", "workers": 1, "time_limit": 120}
    )
    progress = runner.execute(sweep, store, tiny_sweep.worker_config(tmp_path), use_ray=False)
    record = failed(store)
    assert record.trial.method is not None
    assert record.trial.method.name == "fine_tuning"
    assert "Traceback" in str(record.error)
    assert not record.metrics
    assert (progress.failed, progress.worker_lost) == (1, 0)
    assert progress.done == progress.planned - 1
