"""Whatever runs the trials, the same records come out; a lost worker costs its own trial one more start, no more."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_sweep
from made_up import Made

from results.store import Store
from sweep.execution import machine, process_pool, runner
from sweep.execution.event_log import note
from sweep.execution.outbox import Spool
from sweep.execution.scheduler import Progress, Source
from sweep.execution.worker import Place
from sweep.planning import trials as plan
from sweep.planning.strategy import ListWalk
from sweep.spec.compute import Compute
from trials.spec import SpecError, Trial
from trials.storage.blobs import STALE


def trials(number: int = 6) -> list[Trial]:
    """Trials of a tuning game, of which a made-up place runs any."""
    sweep = tiny_sweep.sweep(seeds=list(range(number)))
    choice = plan.configurations(sweep, sweep.defenses[0])[0]
    return plan.trials_of(sweep, plan.cells(sweep)[0], choice)


def source(store: Store, some: list[Trial], attempts: int = 3) -> Source:
    return Source(iter([[ListWalk("made up", some)]]), store, "tiny", attempts)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def eventually(what: Callable[[], bool], seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return what()


def kill_first(place: Made) -> threading.Thread:
    """Kill the worker of the first trial once it has started."""

    def kill() -> None:
        assert eventually(lambda: bool(place.starts()))
        time.sleep(0.1)
        os.kill(place.starts()[0][1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def pooled(store: Store, some: list[Trial], place: Made, attempts: int = 3) -> Progress:
    s = source(store, some, attempts)
    process_pool.pool(s, place, 2)
    assert s.over
    return s.progress


def test_a_pool_runs_every_trial_once_on_warm_workers(store: Store, tmp_path: Path) -> None:
    place = Made(str(tmp_path))
    progress = pooled(store, trials(8), place)
    assert progress.done == len(store.records("tiny")) == len(place.starts()) == 8
    assert len({pid for _, pid in place.starts()}) <= 2
    assert not any(alive(pid) for _, pid in place.starts())
    assert not Spool(place).leftovers()


def test_a_pool_reports_points_as_they_come(store: Store, tmp_path: Path) -> None:
    heard: list[str] = []
    s = Source(iter([[ListWalk("x", trials(1))]]), store, "tiny", watch=lambda event, *_: heard.append(event))
    process_pool.pool(s, Made(str(tmp_path)), 1)
    assert heard == ["start", "point", "point", "point", "finish"]


def test_a_killed_worker_costs_its_own_trial_one_more_start(store: Store, tmp_path: Path) -> None:
    place = Made(str(tmp_path), nap=0.15)
    killer = kill_first(place)
    progress = pooled(store, trials(6), place)
    killer.join()
    assert (progress.done, progress.failed, progress.lost) == (6, 0, 1)
    ids = [i for i, _ in place.starts()]
    assert sorted(ids.count(t.id) for t in trials(6)) == [1, 1, 1, 1, 1, 2]


def test_a_trial_that_kills_its_workers_fails_alone(store: Store, tmp_path: Path) -> None:
    some = trials(6)
    progress = pooled(store, some, Made(str(tmp_path), nap=0.02, dies=some[2].id))
    assert (progress.done, progress.failed, progress.lost) == (5, 1, 3)
    failed = store.get(some[2].id)
    assert failed is not None
    assert "exit code 7" in str(failed.error)


def test_a_record_that_its_worker_spooled_before_it_died_counts(store: Store, tmp_path: Path) -> None:
    some = trials(3)
    place = Made(str(tmp_path), dies=some[0].id, spools=True)
    progress = pooled(store, some, place)
    assert (progress.done, progress.failed, progress.lost) == (3, 0, 0)
    assert len(place.starts()) == 3
    assert not Spool(place).leftovers()


def test_an_interrupted_pool_leaves_no_process(store: Store, tmp_path: Path) -> None:
    place = Made(str(tmp_path), nap=5.0)

    def watch(event: str, *_: object) -> None:
        if event == "point":
            raise KeyboardInterrupt

    s = Source(iter([[ListWalk("x", trials(4))]]), store, "tiny", watch=watch)
    with pytest.raises(KeyboardInterrupt):
        process_pool.pool(s, place, 2)
    assert not any(alive(pid) for _, pid in place.starts())


@pytest.mark.slow
def test_the_journal_has_each_trials_start_and_how_it_ended(finished: tuple[Store, Place]) -> None:
    store, place = finished
    (file,) = (Path(place.artifacts) / "journal").iterdir()
    assert file.name.endswith(f"-{os.getpid()}.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [x["event"] for x in lines] == ["started", "done"] * 9
    assert {x["trial"] for x in lines} == {r.trial.id for r in store.records()}
    assert [x["time"] for x in lines] == sorted(x["time"] for x in lines)


def test_a_journal_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file where the folder should be")
    note(tmp_path, "0123456789abcdef", "started")
    assert (tmp_path / "journal").read_text().startswith("a file")


def test_workers_are_as_many_as_the_cores_allow() -> None:
    assert process_pool.workers_for(Compute(cpus=1)) == machine.cores()
    assert process_pool.workers_for(Compute(cpus=1000)) == 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Place]:
    """A tiny sweep, run in this process."""
    folder = tmp_path_factory.mktemp("inline")
    store, place = Store.open(f"sqlite:///{folder}/s.db"), tiny_sweep.place(folder / "artifacts")
    progress = runner.execute(one_at_a_time(), store, place, use_ray=False)
    assert progress.done == progress.planned == 9
    return store, place


def one_at_a_time() -> runner.Sweep:
    return tiny_sweep.sweep(compute={"device": "cpu", "workers": 1})


@pytest.mark.slow
def test_records_that_were_spooled_while_no_driver_lived_are_taken_up(
    finished: tuple[Store, Place], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, place = finished
    for record in old.records():
        Spool(place).put(record)
    monkeypatch.setattr(process_pool, "pool", _never)
    monkeypatch.setattr(process_pool, "inline", _never)
    progress = runner.execute(tiny_sweep.sweep(), store, place, use_ray=False)
    assert (progress.done, progress.stored) == (0, 9)
    assert tiny_sweep.outcomes(store) == tiny_sweep.outcomes(old)
    assert not Spool(place).leftovers()


def _never(*_: object) -> None:
    raise AssertionError("an executor was started for nothing")


@pytest.mark.slow
def test_two_processes_give_the_records_of_one(finished: tuple[Store, Place], store: Store, tmp_path: Path) -> None:
    runner.execute(tiny_sweep.sweep(), store, tiny_sweep.place(tmp_path / "artifacts"), use_ray=False)
    assert tiny_sweep.outcomes(store) == tiny_sweep.outcomes(finished[0])
    assert all(r.provenance["threads"] == "1" for r in store.records())


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("use_ray", [False, True])
def test_a_second_run_runs_nothing_and_starts_nobody(
    finished: tuple[Store, Place], monkeypatch: pytest.MonkeyPatch, use_ray: bool
) -> None:
    import ray  # noqa: PLC0415

    from sweep.execution.ray_tune import executor as ray_tune  # noqa: PLC0415

    for module, name in ((process_pool, "pool"), (process_pool, "inline"), (ray_tune, "run")):
        monkeypatch.setattr(module, name, _never)
    store, place = finished
    progress = runner.execute(tiny_sweep.sweep(), store, place, use_ray=use_ray)
    assert (progress.done, progress.failed, progress.stored) == (0, 0, 9)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_victim_whose_weights_are_gone_is_trained_again(finished: tuple[Store, Place], store: Store) -> None:
    import shutil  # noqa: PLC0415

    old, place = finished
    store.put_many(old.records())
    victim = tiny_sweep.first(tiny_sweep.sweep(), "training")
    shutil.rmtree(Path(place.artifacts) / victim.id)
    progress = runner.execute(one_at_a_time(), store, place, use_ray=False)
    assert (progress.done, progress.stored) == (1, 8)
    assert (Path(place.artifacts) / victim.id / "facts.json").is_file()


def test_a_half_written_spool_file_is_dropped_once_it_is_old(tmp_path: Path) -> None:
    place = tiny_sweep.place(tmp_path)
    folder = tmp_path / "spool"
    folder.mkdir()
    for name, age in ((".a.1", STALE + 60), (".b.2", 60)):
        (folder / name).write_text("{")
        os.utime(folder / name, (time.time() - age,) * 2)
    assert Spool(place).leftovers() == []
    assert [p.name for p in folder.iterdir()] == [".b.2"]


@pytest.mark.parametrize(
    ("compute", "says"),
    [({"scheduler": "asha"}, "needs Ray"), ({"cpus": 100_000}, r"this (machine has|container may use)")],
)
def test_what_this_machine_or_executor_cannot_do_is_refused(
    store: Store, tmp_path: Path, compute: dict[str, object], says: str
) -> None:
    sweep = tiny_sweep.sweep(compute={"device": "cpu", **compute})
    with pytest.raises(SpecError, match=says):
        runner.execute(sweep, store, tiny_sweep.place(tmp_path), use_ray=False)
    assert not store.records()
