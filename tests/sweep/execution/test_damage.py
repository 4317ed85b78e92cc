"""Damaged artifacts and full disks: one failed record that says what to do, and nothing made or
used in silence.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep

from results.store import Store
from sweep import cli
from sweep.execution import process_pool, runner
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.planning.strategy import ListStrategy
from sweep.spec.sweep_file import Sweep
from trials.spec import Record

pytestmark = pytest.mark.slow
ONE = {"device": "cpu", "workers": 1}
SMALL = tiny_sweep.table(
    defenses=[{**tiny_sweep.DEFENSES[0], "limit": 1}], judge=False, confirm=False, compute=ONE
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and artifacts, in which the victim is trained and no more."""
    folder = tmp_path_factory.mktemp("trained")
    with Store.open(f"sqlite:///{folder}/s.db") as store:
        worker_config = tiny_sweep.worker_config(folder / "artifacts")
        assert runner.execute(only_the_victim(), store, worker_config, use_ray=False).done == 1
    return folder


def only_the_victim(**model: Any) -> Sweep:
    victim = {**tiny_sweep.VICTIM, **({"model": model} if model else {})}
    return tiny_sweep.sweep(
        name="trained", game="training", defenses=[], tuning={}, compute=ONE, victim=victim
    )


def ran(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    file = folder / "tiny.toml"
    file.write_text(tiny_sweep.toml(SMALL))
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(file), "--local", "--store", f"sqlite:///{folder}/s.db", *options])
    assert stop.value.code == 0
    return capsys.readouterr().out


def records(folder: Path) -> list[Record]:
    with Store.open(f"sqlite:///{folder}/s.db") as store:
        return store.records()


def harmed(artifact: Path, harm: str) -> None:
    weights, facts = artifact / "weights.safetensors", artifact / "facts.json"
    blob = weights.read_bytes()
    if harm == "flipped":
        weights.write_bytes(blob[:-7] + bytes([blob[-7] ^ 1]) + blob[-6:])
    elif harm == "truncated":
        weights.write_bytes(blob[:-100])
    elif harm == "unreadable":
        weights.unlink()
        weights.mkdir()
    elif harm == "facts broken":
        facts.write_text(facts.read_text().replace('"m": 60', '"m": 61'))
    else:
        facts.unlink()


@pytest.mark.parametrize(
    "harm", ["flipped", "truncated", "unreadable", "facts broken", "facts missing"]
)
def test_a_damaged_victim_is_one_failure_that_says_what_to_do(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    (victim,) = records(folder)
    artifact = folder / "artifacts" / victim.trial.id
    harmed(artifact, harm)
    said = ran(folder, capsys)
    kept, failed = records(folder)
    assert kept == victim
    assert failed.status == "failed"
    last = str(failed.error).strip().splitlines()[-1]
    assert last.startswith(
        f"trials.storage.artifacts.Damaged: artifact {victim.trial.id} is damaged"
    )
    assert f"delete '{artifact}' and run again with --retry-failed" in last
    assert sorted(
        p.name for p in (folder / "artifacts").iterdir() if p.name not in {"outbox", "events"}
    ) == [victim.trial.id]
    for text in (said, ran(folder, capsys)):
        assert f"1 failed: artifact {victim.trial.id} is damaged" in text
    shutil.rmtree(artifact)
    said = ran(folder, capsys, "--retry-failed")
    assert "damaged" not in said
    assert [r.status for r in records(folder)] == ["done"] * 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("filled", [200_000, 300_000])
def test_a_full_disk_is_one_failure_and_leaves_no_half_artifact(
    disk: Path, store: Store, filled: int
) -> None:
    worker_config = WorkerConfig(str(disk / "artifacts"), "cpu", 1, checkpoint=0)
    (disk / "artifacts").mkdir()
    (disk / "filler").write_bytes(b"x" * filled)
    sweep = only_the_victim(name="resnet18", width=4)  # 200 kB
    trial = tiny_sweep.first(sweep, "training")
    scheduler = Scheduler(iter([[ListStrategy("victim", [trial])]]), store, "tiny")
    process_pool.ProcessPool(worker_config, 1).run(scheduler)
    assert (scheduler.progress.failed, scheduler.progress.worker_lost) == (1, 0)
    (record,) = store.records()
    last = str(record.error).strip().splitlines()[-1]
    assert "the disk is full: make room, then run again with --retry-failed" in last
    assert trial.id in last
    assert "No space left" in record.provenance["checkpoint"]
    assert not [
        p for p in (disk / "artifacts").rglob("*") if p.is_file() and p.parent.name != "events"
    ]
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    store.forget([trial.id])
    runner.execute(sweep, store, worker_config, use_ray=False)
    assert [r.status for r in store.records()] == ["done"]
