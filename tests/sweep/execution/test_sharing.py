"""Drivers that share a store run nothing twice and wait for one another; a killed one's trials run
elsewhere.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_sweep
from made_up import Made
from planned import by_lr, drained, record, searching, strategy, trials
from waiting import eventually

from results.store import Store
from sweep.execution import process_pool
from sweep.execution.driver import Driver, dead
from sweep.execution.progress import Progress
from sweep.execution.scheduler import Scheduler
from sweep.planning import search_feed
from sweep.planning.stages import stages
from sweep.planning.strategy import ListStrategy
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, SpecError, Trial

BOTH = pytest.mark.usefixtures("hasty")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at once what other drivers have done, as no time passes between the steps of a test."""
    monkeypatch.setattr("sweep.execution.scheduler.LOOK", 0.0)
    monkeypatch.setattr(search_feed, "LOOK", 0.0)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        opened.add_sweep("tiny", {})
        yield opened


def scheduler(store: Store, some: list[Trial], name: str, lease: float = 60.0) -> Scheduler:
    return Scheduler(iter([[ListStrategy("x", some)]]), store, "tiny", driver=Driver(lease, name))


def shared(*two: Scheduler) -> list[list[Trial]]:
    """Run schedulers in turn, one trial each; the trials that each handed out."""
    ran: list[list[Trial]] = [[] for _ in two]
    while not all(s.over for s in two):
        handed = [s.next() for s in two]
        for mine, s, trial in zip(ran, two, handed, strict=True):
            if trial is not None:
                mine.append(trial)
                s.finish(by_lr(trial))
    return ran


def test_claims_of_a_killed_driver_of_this_machine_end_when_the_next_one_starts(
    store: Store,
) -> None:
    one, two, three = trials(3)
    code = (
        "import time; from sweep.execution.driver import Driver; print(Driver().name, "
        "flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        try:
            killed = other.stdout.readline().strip()
            remote_done = killed.replace(killed.split(":")[1], "00000000-1")
            for trial, owner in ((one, killed), (two, Driver().name), (three, remote_done)):
                assert store.claim(trial.id, owner, 600)
            assert not dead(killed)
        finally:
            other.kill()
    assert dead(killed) and not dead(remote_done) and not dead(Driver().name) and not dead("a")
    with Driver().alive(store):
        assert store.claimed([one.id, two.id, three.id]) == {two.id, three.id}


def test_a_driver_that_may_live_is_not_declared_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc may hide other users' processes, and a cloned machine may have the same boot id as this
    one.
    """
    host, rest = Driver().name.split(":", 1)
    assert not dead(f"another-{host}:{rest.replace(str(os.getpid()), '4194303')}")
    assert dead(f"{host}:{rest.replace(str(os.getpid()), '4194303')}")
    someone = Driver().name

    def hidden(process: int) -> str:
        raise PermissionError(process)

    monkeypatch.setattr("sweep.execution.driver._began", hidden)
    assert not dead(someone)


def test_a_database_that_was_away_is_told_at_once_that_a_driver_lives(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage may take nearly the whole lease; then there is no time for a quarter of another."""
    (trial,), driver, renew, away = trials(1), Driver(lease=8), Store.renew, threading.Event()
    tried: list[float] = []

    def renewed(self: Store, owner: str, seconds: float) -> None:
        tried.append(time.monotonic())
        if not away.is_set():
            raise SpecError("store cannot be used")
        renew(self, owner, seconds)

    monkeypatch.setattr(Store, "renew", renewed)
    with driver.alive(store):
        assert store.claim(trial.id, driver.name, 4)
        assert eventually(lambda: len(tried) >= 3)
        assert tried[2] - tried[0] < 1.9
        away.set()
        assert eventually(lambda: len(tried) >= 5, 4)
        time.sleep(max(0.0, 4.2 - (time.monotonic() - tried[0])))
        assert not store.claim(trial.id, "another", 60)


@BOTH
def test_two_sources_share_the_trials_and_both_hear_all_records(store: Store) -> None:
    some = trials(6)
    a, b = scheduler(store, some, "a"), scheduler(store, some, "b")
    ran = shared(a, b)
    assert sorted(t.id for t in ran[0] + ran[1]) == sorted(t.id for t in some)
    assert all(ran)
    for s in (a, b):
        p = s.progress
        assert p.done + p.remote_done + p.stored == p.planned == 6
        assert not p.awaited
    assert a.progress.remote_done + b.progress.remote_done > 0
    assert store.claimed([t.id for t in some]) == set()


@BOTH
def test_stages_wait_for_victims_and_copies_that_another_driver_makes(store: Store) -> None:
    sweep = tiny_sweep.sweep()
    a = Scheduler(stages(sweep, store), store, "tiny", driver=Driver(name="a"))
    b = Scheduler(stages(sweep, store), store, "tiny", driver=Driver(name="b"))
    for game in ("training", "self_poison"):
        trial = a.next()
        assert trial is not None
        assert trial.game.name == game
        assert b.next() is None
        assert b.awaits
        assert not b.over
        a.finish(record(trial))
    first, second = a.next(), b.next()
    assert first is not None
    assert second is not None
    assert first.game.name == second.game.name == "tuning"
    assert first.id != second.id


@BOTH
def test_a_victim_that_fails_elsewhere_blocks_here(store: Store) -> None:
    sweep = tiny_sweep.sweep()
    a = Scheduler(stages(sweep, store), store, "tiny", driver=Driver(name="a"))
    b = Scheduler(stages(sweep, store), store, "tiny", driver=Driver(name="b"))
    trial = a.next()
    assert trial is not None
    assert b.next() is None
    a.finish(record(trial, status="failed"))
    assert b.next() is None
    assert b.over
    assert b.progress.blocked == 1 + 4


@BOTH
def test_a_killed_drivers_trial_runs_here_after_its_lease(store: Store) -> None:
    (trial,) = trials(1)
    killed, heir = scheduler(store, [trial], "killed", lease=0.1), scheduler(store, [trial], "heir")
    assert killed.next() == trial
    while heir.next() is None:
        assert heir.awaits
        time.sleep(0.02)
    assert list(heir.progress.running) == [trial.id]
    assert not heir.progress.awaited


@BOTH
def test_an_heir_takes_no_more_than_it_can_run(store: Store) -> None:
    some = trials(3)
    killed = scheduler(store, some, "killed", lease=0.3)
    for _ in some:
        killed.next()
    heir, other = scheduler(store, some, "heir"), scheduler(store, some, "other")
    while (first := heir.next()) is None:
        time.sleep(0.02)
    while (second := other.next()) is None:
        time.sleep(0.02)
    assert first.id != second.id


@BOTH
def test_a_record_that_comes_too_late_is_dropped_and_the_others_taken(store: Store) -> None:
    (trial,) = trials(1)
    heard: list[str] = []

    def reporter(event: str, _: Trial, progress: Progress, record: Record | None) -> None:
        heard.append(event)

    asleep = Scheduler(
        iter([[ListStrategy("x", [trial])]]),
        store,
        "tiny",
        reporter=reporter,
        driver=Driver(0.05, "asleep"),
    )
    assert asleep.next() == trial
    awake = scheduler(store, [trial], "awake")
    while awake.next() is None:
        time.sleep(0.02)
    asleep.finish(record(trial, asr=0.1))
    assert store.get(trial.id) is None
    assert asleep.next() is None
    assert not asleep.over
    awake.finish(record(trial, asr=0.2))
    assert asleep.next() is None
    assert asleep.over
    assert store.records("tiny") == [record(trial, asr=0.2)]
    assert (asleep.progress.lease_lost, asleep.progress.done, asleep.progress.remote_done) == (
        1,
        0,
        1,
    )
    assert "lease_lost" in heard


@BOTH
def test_a_lost_workers_trial_stays_this_drivers(store: Store) -> None:
    (trial,) = trials(1)
    a, b = scheduler(store, [trial], "a"), scheduler(store, [trial], "b")
    assert a.next() == trial
    a.worker_lost(trial, "killed")
    assert b.next() is None
    assert a.next() == trial


def test_a_driver_renews_its_claims_and_releases_them_in_the_end(store: Store) -> None:
    (trial,) = trials(1)
    driver = Driver(lease=2)
    with pytest.raises(KeyboardInterrupt), driver.alive(store):
        assert store.claim(trial.id, driver.name, driver.lease)
        time.sleep(3)
        assert not store.claim(trial.id, "another", 60)
        raise KeyboardInterrupt
    assert store.claim(trial.id, "another", 60)


def executed(executor: str, s: Scheduler, worker_config: Made) -> None:
    if executor == "inline":
        process_pool.Inline(worker_config).run(s)
    elif executor == "pool":
        process_pool.ProcessPool(worker_config, 2).run(s)
    else:
        import made_up  # noqa: PLC0415
        from ray import cloudpickle  # noqa: PLC0415

        from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415
        from sweep.spec.compute import Compute  # noqa: PLC0415

        cloudpickle.register_pickle_by_value(made_up)  # type: ignore[no-untyped-call]
        RayTune(worker_config, Compute(device="cpu", workers=2)).run(s)


@pytest.mark.parametrize(
    "executor", ["inline", "pool", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])]
)
def test_an_executor_waits_for_what_another_driver_runs(
    store: Store, tmp_path: Path, executor: str, request: pytest.FixtureRequest
) -> None:
    if executor == "ray":
        request.getfixturevalue("running_ray")
    some, worker_config = trials(3), Made(str(tmp_path))
    other = scheduler(store, some, "other")
    first = other.next()
    assert first is not None
    mine = scheduler(store, some, "mine")

    def finish() -> None:
        while mine.progress.done < 2:  # so nothing of its own runs any more
            time.sleep(0.1)
        time.sleep(1.0)
        assert not mine.over
        other.finish(record(first))

    thread = threading.Thread(target=finish)
    thread.start()
    executed(executor, mine, worker_config)
    thread.join()
    assert mine.over
    assert (mine.progress.done, mine.progress.remote_done) == (2, 1)
    assert sorted(i for i, _ in worker_config.starts()) == sorted(t.id for t in some[1:])
    assert len(store.records("tiny")) == 3


def pair(store: Store, sweep: Sweep) -> tuple[Scheduler, Scheduler]:
    strategies = strategy(sweep, store), strategy(sweep, store)
    a, b = (
        Scheduler(iter([[w]]), store, "tiny", driver=Driver(name=n))
        for w, n in zip(strategies, "ab", strict=True)
    )
    return a, b


@BOTH
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "gp"])
def test_two_drivers_of_a_search_share_its_trials(store: Store, sampler: str) -> None:
    sweep = searching(12, sampler=sampler, fixed={})
    ran = shared(*pair(store, sweep))
    ids = [t.id for t in ran[0] + ran[1]]
    assert all(ran)
    assert len(ids) == len(set(ids))
    assert 12 <= len(ids) <= 13  # the other's trial in flight is not known yet
    assert not drained(Scheduler(iter([[strategy(sweep, store)]]), store, "tiny"))


@BOTH
def test_a_driver_that_joins_a_search_learns_what_the_first_has_found(store: Store) -> None:
    sweep = searching(8, sampler="random", seeds=[0, 1])
    first, second = strategy(sweep, store), strategy(sweep, store)
    ran = drained(Scheduler(iter([[first]]), store, "tiny", driver=Driver(name="a")), by_lr)
    assert len(ran) == 16
    lease_lost = Scheduler(iter([[second]]), store, "tiny", driver=Driver(name="b"))
    assert drained(lease_lost) == []
    assert lease_lost.over
    tried = [
        {tuple(t.params.items()) for t in w.study.trials if t.state.is_finished()}
        for w in (first, second)
    ]
    assert tried[0] == tried[1]
    assert len(tried[0]) == 8
    p = lease_lost.progress
    assert p.planned == p.remote_done == 16


@BOTH
@pytest.mark.parametrize("stored", [True, False])
def test_what_starts_waits_while_others_run_all_that_is_left(store: Store, stored: bool) -> None:
    """Ray is started for what runs here alone: Tune gives up after half an hour without a first
    trial.
    """
    some = trials(2)
    other = scheduler(store, some, "other")
    held = [other.next(), other.next()]
    mine = scheduler(store, some, "mine")

    def finish() -> None:
        time.sleep(0.3)
        ended.append(time.monotonic())
        for trial in held:
            assert trial is not None
            if stored or trial == held[0]:
                other.finish(record(trial))
            else:
                store.release("other", trial.id)

    ended: list[float] = []
    thread = threading.Thread(target=finish)
    thread.start()
    assert mine.waiting() is not stored
    assert time.monotonic() > ended[0]
    thread.join()
    assert mine.progress.remote_done == (2 if stored else 1)
    assert mine.over is stored
    assert drained(mine) == ([] if stored else held[1:])
