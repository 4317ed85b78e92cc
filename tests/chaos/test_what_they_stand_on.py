"""Damaged artifacts, a full disk, a database that goes away: the sweep says what is wrong, or
waits.
"""

import errno
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import Server
from harness import Run, Undisturbed, agree, defense, outcomes, spec_with, until, victim_with

from trials.json_forms import to_json
from trials.spec import Record

Count = Callable[..., None]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def unreadable(file: Path) -> None:
    """A folder in its place: root, too, gets an error on reading it."""
    file.unlink()
    file.mkdir()


DAMAGE = [
    ("training", "weights.safetensors", cut),
    ("training", "weights.safetensors", flip),
    ("training", "weights.safetensors", unreadable),
    ("training", "facts.json", cut),
    ("self_poison", "weights.safetensors", cut),
    ("self_poison", "weights.safetensors", flip),
]


def test_a_damaged_artifact_is_never_used(tmp_path: Path, count: Count) -> None:
    quick = {
        "seeds": [0],
        "victim": victim_with(seeds=list(range(len(DAMAGE)))),
        "confirm": False,
        "judge": False,
    }
    first = spec_with(tmp_path / "first", **quick, defenses=[defense("fine_tuning", 1)])
    extra = spec_with(tmp_path / "more", **quick, defenses=[defense("fine_tuning", 2)])
    whole = Run(tmp_path / "whole", extra)
    whole.complete()
    run = Run(tmp_path / "run", first)
    run.complete()
    before = run.records()
    for seed, (game, name, damage) in enumerate(DAMAGE):
        damage(run.artifacts / made(before, game, seed) / name)
    run.spec = extra
    run.complete()
    after = run.records()
    new = [after[i] for i in after.keys() - before.keys()]
    told = [
        r
        for r in new
        if r.status == "failed"
        and made(before, DAMAGE[r.trial.victim.seed][0], r.trial.victim.seed) in str(r.error)
    ]
    count(
        "artifact cut short, flipped or unreadable",
        faults=len(DAMAGE),
        failed_records=len(told),
        trials=len(after),
        used=len(new) - len(told),
    )
    assert len(told) == len(new) == len(DAMAGE), [r.error for r in new]
    assert {i: after[i] for i in before} == before
    for seed, (game, _, _) in enumerate(DAMAGE):
        shutil.rmtree(run.artifacts / made(before, game, seed))
    assert f"ran {2 * len(DAMAGE)} trials (0 failed" in run.complete("--retry-failed")
    assert outcomes(run.records()) == outcomes(whole.records())


def made(records: dict[str, Record], game: str, seed: int) -> str:
    """The id of the trial that made an artifact of a victim."""
    return next(
        i for i, r in records.items() if r.trial.game.name == game and r.trial.victim.seed == seed
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield folder
    if subprocess.run(["umount", str(folder)], check=False).returncode:  # as where a test failed
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        pytest.fail("a process still used the small disk")


def fill(folder: Path, left: int) -> Path:
    """Fill a disk up to so many bytes; returns the file that does it."""
    filler = folder / "filler"
    rest = memoryview(bytes(shutil.disk_usage(folder).free - left))
    with filler.open("wb", buffering=0) as stream:
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError as problem:  # others write to it meanwhile
            if problem.errno != errno.ENOSPC:
                raise
    return filler


def test_a_full_disk_fails_what_needs_it_and_loses_nothing(
    small_disk: Path, undisturbed: Undisturbed, tmp_path: Path, count: Count
) -> None:
    quick = {
        "victim": victim_with(seeds=[0]),
        "defenses": [defense("fine_tuning")],
        "judge": False,
        "confirm": False,
    }
    first = spec_with(tmp_path / "first", **quick, seeds=[0])
    extra = spec_with(tmp_path / "more", **quick, seeds=[0, 1])
    run = Run(tmp_path / "run", first, artifacts=small_disk / "artifacts")
    run.complete()
    before, filler = run.records(), fill(small_disk, 8192)
    run.spec = extra
    run.complete()
    full = run.records()
    failed = [r for r in full.values() if r.status == "failed"]
    count(
        "artifacts folder on a full disk",
        faults=1,
        failed_records=len(failed),
        trials=len(full),
        worker_lost=len(before.keys() - full.keys()),
    )
    assert [r.trial.game.name for r in failed] == ["self_poison"]
    assert f"[Errno {errno.ENOSPC}]" in str(failed[0].error)
    assert {i: full[i] for i in before} == before
    filler.unlink()
    assert "ran 2 trials (0 failed" in run.complete("--retry-failed")
    assert agree(run.records(), undisturbed.records, 5)
    assert all(r.status == "done" for r in run.records().values())


def test_a_store_on_a_full_disk_loses_nothing(
    small_disk: Path, undisturbed: Undisturbed, tmp_path: Path, count: Count
) -> None:
    run = Run(tmp_path, spec_with(tmp_path, compute={"device": "cpu", "workers": 2, "outage": 2}))
    run.store = f"sqlite:///{small_disk}/store.db"
    run.start()
    assert until(lambda: run.over or len(run.stored()) >= 5)
    before, filler = run.stored(), fill(small_disk, 0)
    assert run.end() == 2, run.said.read_text()
    last = run.said.read_text().splitlines()[-1]
    filler.unlink()
    held = {r.trial.id: to_json(r) for r in run.stored()}
    finished, starts = run.records(), len(run.started())
    assert "could not be used for 2 s: database or disk is full" in last
    assert all(held[r.trial.id] == to_json(r) for r in before)
    run.complete()
    records = run.records()
    count(
        "store on a full disk",
        faults=1,
        trials=len(records),
        executions=len(run.started()),
        worker_lost=len(finished.keys() - records.keys()),
    )
    assert outcomes(records) == outcomes(undisturbed.records)
    assert len(run.started()) - starts == len(records) - len(finished)


@pytest.mark.postgres
def test_a_sweep_waits_for_a_database_that_is_started_again(
    postgres: Server, undisturbed: Undisturbed, tmp_path: Path, count: Count
) -> None:
    run = Run(tmp_path, store=postgres.url())
    run.start()
    assert until(lambda: run.over or len(run.started()) >= 5)
    postgres.stop("immediate")
    time.sleep(3)
    postgres.start()
    assert run.end() == 0, run.said.read_text()
    records = run.records()
    count(
        "PostgreSQL stopped and started",
        faults=1,
        trials=len(records),
        executions=len(run.started()),
    )
    assert outcomes(records) == outcomes(undisturbed.records)
    assert len(run.started()) == len(records)
    assert not run.quiet()
