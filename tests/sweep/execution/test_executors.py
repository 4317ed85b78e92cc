"""Whatever runs the trials, the same records come out; a lost worker costs its own trial one more
start, no more.
"""

import json
import os
import time
from pathlib import Path

import pytest
import tiny_sweep
from made_up import Made
from planned import scheduler, trials
from waiting import alive, kill_first

from results.store import Store
from sweep.execution import machine, process_pool, runner
from sweep.execution.event_log import note
from sweep.execution.outbox import Outbox
from sweep.execution.progress import Progress
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.planning.strategy import ListStrategy
from sweep.spec.compute import Compute
from sweep.spec.sweep_file import Sweep
from trials.spec import SpecError, Trial
from trials.storage.blobs import STALE


def pooled(store: Store, some: list[Trial], worker_config: Made, attempts: int = 3) -> Progress:
    s = scheduler(store, some, attempts)
    process_pool.ProcessPool(worker_config, 2).run(s)
    assert s.over
    return s.progress


def test_a_pool_runs_every_trial_once_on_warm_workers(store: Store, tmp_path: Path) -> None:
    worker_config = Made(str(tmp_path))
    progress = pooled(store, trials(8), worker_config)
    assert progress.done == len(store.records("tiny")) == len(worker_config.starts()) == 8
    assert len({pid for _, pid in worker_config.starts()}) <= 2
    assert not any(alive(pid) for _, pid in worker_config.starts())
    assert not Outbox(worker_config).pending()


@pytest.mark.parametrize(
    ("spread", "number", "threads"), [(True, 1, 8), (True, 3, 2), (True, 20, 1), (False, 1, 1)]
)
def test_a_stage_of_few_trials_may_use_the_cores_that_would_be_idle(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spread: bool,
    number: int,
    threads: int,
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 16)
    compute = Compute(device="cpu", workers=8)  # what it may take is what eight trials would
    pool = process_pool.ProcessPool(Made(str(tmp_path)), 1, compute, spread)
    pool.run(scheduler(store, trials(number)))
    assert [r.provenance["threads"] for r in store.records("tiny")] == number * [str(threads)]


def test_threads_are_spread_over_cores_and_not_over_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    assert process_pool.spread(Compute(device="cpu", cpus=0.5), 1).threads == 8
    assert process_pool.spread(Compute(device="cpu", workers=99), 1).threads == 8
    of_eight = Compute(device="cpu", workers=4, cpus=2)
    few = process_pool.spread(of_eight, 3)
    assert (few.threads, few.workers) == (2, 4)
    assert process_pool.spread(of_eight, 1).threads == 8
    on_gpu = Compute(device="cuda", gpus=1, workers=4)
    assert process_pool.spread(on_gpu, 1) == on_gpu


def test_a_pool_reports_points_as_they_come(store: Store, tmp_path: Path) -> None:
    heard: list[str] = []
    s = Scheduler(
        iter([[ListStrategy("x", trials(1))]]),
        store,
        "tiny",
        reporter=lambda event, *_: heard.append(event),
    )
    process_pool.ProcessPool(Made(str(tmp_path)), 1).run(s)
    assert heard == ["start", "point", "point", "point", "finish"]


def test_a_killed_worker_costs_its_own_trial_one_more_start(store: Store, tmp_path: Path) -> None:
    worker_config = Made(str(tmp_path), nap=0.15)
    killer = kill_first(worker_config)
    progress = pooled(store, trials(6), worker_config)
    killer.join()
    assert (progress.done, progress.failed, progress.worker_lost) == (6, 0, 1)
    ids = [i for i, _ in worker_config.starts()]
    assert sorted(ids.count(t.id) for t in trials(6)) == [1, 1, 1, 1, 1, 2]


def test_a_trial_that_kills_its_workers_fails_alone(store: Store, tmp_path: Path) -> None:
    some = trials(6)
    progress = pooled(store, some, Made(str(tmp_path), nap=0.02, dies=some[2].id))
    assert (progress.done, progress.failed, progress.worker_lost) == (5, 1, 3)
    failed = store.get(some[2].id)
    assert failed is not None
    assert "exit code 7" in str(failed.error)


def test_a_record_that_its_worker_put_on_disk_before_it_died_counts(
    store: Store, tmp_path: Path
) -> None:
    some = trials(3)
    worker_config = Made(str(tmp_path), dies=some[0].id, puts_first=True)
    progress = pooled(store, some, worker_config)
    assert (progress.done, progress.failed, progress.worker_lost) == (3, 0, 0)
    assert len(worker_config.starts()) == 3
    assert not Outbox(worker_config).pending()


def test_an_interrupted_pool_leaves_no_process(store: Store, tmp_path: Path) -> None:
    worker_config = Made(str(tmp_path), nap=5.0)

    def reporter(event: str, *_: object) -> None:
        if event == "point":
            raise KeyboardInterrupt

    s = Scheduler(iter([[ListStrategy("x", trials(4))]]), store, "tiny", reporter=reporter)
    with pytest.raises(KeyboardInterrupt):
        process_pool.ProcessPool(worker_config, 2).run(s)
    assert not any(alive(pid) for _, pid in worker_config.starts())


@pytest.mark.slow
def test_the_event_log_has_each_trials_start_and_how_it_ended(
    finished: tuple[Store, WorkerConfig],
) -> None:
    store, worker_config = finished
    (file,) = (Path(worker_config.artifacts) / "events").iterdir()
    assert file.name.endswith(f"-{os.getpid()}.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [x["event"] for x in lines] == ["started", "done"] * 9
    assert {x["trial"] for x in lines} == {r.trial.id for r in store.records()}
    assert [x["time"] for x in lines] == sorted(x["time"] for x in lines)


def test_an_event_log_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file where the folder should be")
    note(tmp_path, "0123456789abcdef", "started")
    assert (tmp_path / "events").read_text().startswith("a file")


def test_workers_are_as_many_as_the_cores_allow() -> None:
    assert process_pool.workers_for(Compute(cpus=1)) == machine.cores()
    assert process_pool.workers_for(Compute(cpus=1000)) == 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, WorkerConfig]:
    """A tiny sweep, run in this process."""
    folder = tmp_path_factory.mktemp("inline")
    store, worker_config = (
        Store.open(f"sqlite:///{folder}/s.db"),
        tiny_sweep.worker_config(folder / "artifacts"),
    )
    progress = runner.execute(one_at_a_time(), store, worker_config, use_ray=False)
    assert progress.done == progress.planned == 9
    return store, worker_config


def one_at_a_time() -> Sweep:
    return tiny_sweep.sweep(compute={"device": "cpu", "workers": 1})


@pytest.mark.slow
def test_records_that_waited_while_no_driver_lived_are_taken_up(
    finished: tuple[Store, WorkerConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, worker_config = finished
    for record in old.records():
        Outbox(worker_config).put(record)
    monkeypatch.setattr(process_pool, "ProcessPool", _never)
    monkeypatch.setattr(process_pool, "Inline", _never)
    progress = runner.execute(tiny_sweep.sweep(), store, worker_config, use_ray=False)
    assert (progress.done, progress.stored) == (0, 9)
    assert tiny_sweep.outcomes(store) == tiny_sweep.outcomes(old)
    assert not Outbox(worker_config).pending()


def _never(*_: object) -> None:
    raise AssertionError("an executor was started for nothing")


@pytest.mark.slow
def test_two_processes_give_the_records_of_one(
    finished: tuple[Store, WorkerConfig], store: Store, tmp_path: Path
) -> None:
    runner.execute(
        tiny_sweep.sweep(), store, tiny_sweep.worker_config(tmp_path / "artifacts"), use_ray=False
    )
    assert tiny_sweep.outcomes(store) == tiny_sweep.outcomes(finished[0])
    assert all(r.provenance["threads"] == "1" for r in store.records())


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("use_ray", [False, True])
def test_a_second_run_runs_nothing_and_starts_nobody(
    finished: tuple[Store, WorkerConfig], monkeypatch: pytest.MonkeyPatch, use_ray: bool
) -> None:
    import ray  # noqa: PLC0415

    for executor in (
        "process_pool.ProcessPool",
        "process_pool.Inline",
        "ray_tune.executor.RayTune",
    ):
        monkeypatch.setattr(f"sweep.execution.{executor}", _never)
    store, worker_config = finished
    progress = runner.execute(tiny_sweep.sweep(), store, worker_config, use_ray=use_ray)
    assert (progress.done, progress.failed, progress.stored) == (0, 0, 9)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_victim_whose_weights_are_gone_is_trained_again(
    finished: tuple[Store, WorkerConfig], store: Store
) -> None:
    import shutil  # noqa: PLC0415

    old, worker_config = finished
    store.put_many(old.records())
    victim = tiny_sweep.first(tiny_sweep.sweep(), "training")
    shutil.rmtree(Path(worker_config.artifacts) / victim.id)
    progress = runner.execute(one_at_a_time(), store, worker_config, use_ray=False)
    assert (progress.done, progress.stored) == (1, 8)
    assert (Path(worker_config.artifacts) / victim.id / "facts.json").is_file()


def test_a_half_written_outbox_file_is_dropped_once_it_is_old(tmp_path: Path) -> None:
    worker_config = tiny_sweep.worker_config(tmp_path)
    folder = tmp_path / "outbox"
    folder.mkdir()
    for name, age in ((".a.1", STALE + 60), (".b.2", 60)):
        (folder / name).write_text("{")
        os.utime(folder / name, (time.time() - age,) * 2)
    assert Outbox(worker_config).pending() == []
    assert [p.name for p in folder.iterdir()] == [".b.2"]


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        ({"scheduler": "asha"}, "needs Ray"),
        ({"cpus": 100_000}, r"this (machine has|container may use)"),
    ],
)
def test_what_this_machine_or_executor_cannot_do_is_refused(
    store: Store, tmp_path: Path, compute: dict[str, object], says: str
) -> None:
    sweep = tiny_sweep.sweep(compute={"device": "cpu", **compute})
    with pytest.raises(SpecError, match=says):
        runner.execute(sweep, store, tiny_sweep.worker_config(tmp_path), use_ray=False)
    assert not store.records()
