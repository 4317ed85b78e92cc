"""What a worker has finished waits in the outbox until the store has it, whoever dies or is away
meanwhile.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_sweep
from planned import trials
from programs import Program

from results.store import Store
from sweep.execution.driver import Driver
from sweep.execution.outbox import Outbox
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.planning.strategy import ListStrategy
from trials.json_forms import record_from_json, to_json
from trials.spec import Record, Trial
from trials.storage.blobs import LocalBlobStore


@pytest.fixture
def worker_config(tmp_path: Path) -> WorkerConfig:
    return tiny_sweep.worker_config(tmp_path / "artifacts")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        opened.add_sweep("tiny", {})
        yield opened


def finished(trial: Trial, cda: float = 0.5) -> Record:
    return Record(trial=trial, status="done", metrics={"cda0": cda}, seconds=1.0)


def failed(trial: Trial) -> Record:
    return Record(trial=trial, status="failed", error="OSError: no space left")


def test_a_record_can_be_read_and_dropped(worker_config: WorkerConfig) -> None:
    outbox, (trial,) = Outbox(worker_config), trials(1)
    outbox.put(finished(trial))
    assert outbox.get(trial.id) == finished(trial)
    assert outbox.pending() == [finished(trial)]
    outbox.drop(trial.id)
    assert outbox.get(trial.id) is None
    assert not outbox.pending()


def test_a_file_that_cannot_be_understood_is_dropped(worker_config: WorkerConfig) -> None:
    outbox, (trial,) = Outbox(worker_config), trials(1)
    outbox.put(finished(trial))
    (file,) = (Path(worker_config.artifacts) / "outbox").glob("*.json")
    file.write_text(file.read_text()[:-20])
    assert outbox.get(trial.id) is None
    assert not outbox.pending()
    assert not file.exists()


@pytest.mark.parametrize("errors", [1, 9])
def test_an_error_on_the_way_deletes_nothing(
    worker_config: WorkerConfig, errors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network share that is away for a moment is read again; one that stays away keeps what it
    has.
    """
    monkeypatch.setattr("sweep.execution.outbox.PAUSES", (0.0, 0.0))
    outbox, (trial,) = Outbox(worker_config), trials(1)
    outbox.put(finished(trial))
    left, get = [errors], LocalBlobStore.get

    def sometimes(self: LocalBlobStore, name: str) -> bytes:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError("503 slow down")
        return get(self, name)

    monkeypatch.setattr(LocalBlobStore, "get", sometimes)
    assert outbox.pending() == ([finished(trial)] if errors == 1 else [])
    monkeypatch.undo()
    assert outbox.pending() == [finished(trial)]


def test_a_record_that_cannot_be_put_is_told_all_the_same(tmp_path: Path) -> None:
    worker_config, (trial,) = tiny_sweep.worker_config(tmp_path), trials(1)
    (tmp_path / "outbox").write_text("a file where the folder should be")
    assert record_from_json(json.loads(Outbox(worker_config).put(finished(trial)))) == finished(
        trial
    )
    assert Outbox(worker_config).get(trial.id) is None


def test_what_the_store_lacks_is_taken_up_and_nothing_is_overwritten(
    store: Store, worker_config: WorkerConfig
) -> None:
    outbox, (new, known, held) = Outbox(worker_config), trials(3)
    store.put(finished(known), "tiny")
    assert store.claim(held.id, "another driver", 60)
    for record in (finished(new), failed(known), finished(held)):
        outbox.put(record)
    outbox.take_up(store, "me")
    assert {r.trial.id: r for r in store.records()} == {t.id: finished(t) for t in (new, known)}
    assert outbox.pending() == [finished(held)]
    store.release("another driver")
    outbox.take_up(store, "me")
    assert store.get(held.id) == finished(held)
    assert not outbox.pending()


def test_an_heir_takes_the_record_that_a_killed_driver_left(
    store: Store, worker_config: WorkerConfig
) -> None:
    """It starts while the other lives, so what it finds at its start is not enough."""
    (trial,) = trials(1)

    def scheduler(name: str, lease: float) -> Scheduler:
        return Scheduler(
            iter([[ListStrategy("x", [trial])]]),
            store,
            "tiny",
            driver=Driver(lease, name),
            outbox=Outbox(worker_config),
        )

    killed, heir = scheduler("killed", 0.5), scheduler("heir", 60)
    assert killed.next() == trial
    assert heir.next() is None
    Outbox(worker_config).put(finished(trial))
    while not heir.over:
        assert heir.next() is None
    assert (heir.progress.done, heir.progress.remote_done, heir.progress.awaited) == (1, 0, {})
    assert store.records("tiny") == [finished(trial)]
    assert not Outbox(worker_config).pending()


def test_a_record_joins_the_sweep_that_asked_for_it_whoever_finds_it(
    store: Store, worker_config: WorkerConfig
) -> None:
    """Another sweep's driver takes it up, or the store has it already; one of another store's sweep
    stays for that.
    """
    store.add_sweep("other", {})
    new, known, wanted, foreign = trials(4)
    store.put(finished(known), "other")
    for trial, sweep in ((new, "tiny"), (known, "tiny"), (foreign, "elsewhere")):
        Outbox(replace(worker_config, sweep=sweep)).put(finished(trial))
    outbox = Outbox(worker_config)
    outbox.take_up(store, "me")
    assert {r.trial.id for r in store.records("tiny")} == {new.id, known.id}
    assert store.get(foreign.id) == finished(foreign)
    assert outbox.pending() == [finished(foreign)]
    Outbox(replace(worker_config, sweep="tiny")).put(finished(wanted))
    heir = Scheduler(iter([[ListStrategy("x", [wanted])]]), store, "other", outbox=outbox)
    assert heir.next() is None
    for sweep in ("tiny", "other"):
        assert wanted.id in {r.trial.id for r in store.records(sweep)}
    assert outbox.pending() == [finished(foreign)]


def test_a_file_that_names_no_sweep_is_read_as_before(
    store: Store, worker_config: WorkerConfig
) -> None:
    (trial,) = trials(1)
    worker_config.outbox.put(f"{trial.id}.json", json.dumps(to_json(finished(trial))).encode())
    Outbox(worker_config).take_up(store, "me")
    assert store.get(trial.id) == finished(trial)
    assert not store.records("tiny")
    assert not Outbox(worker_config).pending()


HANGS = """
import sys, time
from made_up import Made
from planned import trials
from sweep.execution.worker import perform
worker_config = Made(sys.argv[1], time_limit=0.5, troubled="all", trouble=sys.argv[2])
list(perform(trials(1)[0], worker_config))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("trouble", "told"), [("sleeps", True), ("holds the lock", False)])
def test_a_driver_on_another_machine_hears_of_the_time_limit(
    tmp_path: Path, trouble: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Artifacts at a URI, and a disk of the worker's own; code that holds the lock cannot tell
    anybody.
    """
    where, folder = f"file://{tmp_path}/artifacts", Path(__file__).parents[1]
    path = os.pathsep.join([str(folder), str(folder.parent), str(folder.parents[1])])
    code = (
        HANGS
        if told
        else f"import sweep.execution.worker; sweep.execution.worker.TELLING = 0.5{HANGS}"
    )
    environment = {**os.environ, "PYTHONPATH": path, "POISONSWEEP_CACHE": str(tmp_path / "theirs")}
    assert Program(["-c", code, where, trouble], tmp_path, environment).wait(600) == 1
    monkeypatch.setenv("POISONSWEEP_CACHE", str(tmp_path / "ours"))
    record = Outbox(WorkerConfig(where, time_limit=0.5)).last_word(trials(1)[0])
    assert (record is not None) == told
    if record is not None:
        assert record.status == "failed"
        assert "made_up.py" in str(record.error)
        assert str(record.error).splitlines()[-1] == "time limit of 0.5 s"
