"""Whatever is written may be read and written by whom the umask says: no more and no less."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_sweep
import torch
from PIL import Image

from results.export.all_tables import to_tables
from results.export.frames import to_file, to_optuna, to_tensorboard
from results.report.page import write
from results.store import Store
from sweep.commands.gallery import make
from sweep.execution import runner
from sweep.execution.outbox import Outbox
from sweep.execution.worker import make_runtime
from trials.datasets.image_folder import load
from trials.storage import node_cache
from trials.storage.remote_artifacts import artifacts_at
from trials.weights.files import save_weights

ROOT = Path(__file__).parents[3]


# no fixed right of a file fits both of those that are always tried
@pytest.fixture(
    params=[*(pytest.param(mask, marks=pytest.mark.slow) for mask in (0o077, 0o022)), 0o027, 0o002],
    ids=oct,
)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield int(request.param)
    os.umask(before)


def odd(folder: Path, umask: int) -> dict[str, str]:
    """What in the folder has other rights than the umask leaves; raises where there is nothing."""
    paths = [folder, *folder.rglob("*")]
    assert len(paths) > 1
    wanted = {path: (0o777 if path.is_dir() else 0o666) & ~umask for path in paths}
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    return {
        str(path.relative_to(folder)): oct(found[path])
        for path in paths
        if found[path] != wanted[path]
    }


def pictures(folder: Path) -> Path:
    for label in "ab":
        (folder / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / label / "0.png")
    return folder


def test_a_sweep_and_all_that_is_made_of_it(
    umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv(node_cache.VARIABLE, str(out / "cache"))
    monkeypatch.setenv(runner.CHECKPOINT_VARIABLE, "0")
    sweep = tiny_sweep.sweep(compute={"device": "cpu", "workers": 1})
    worker_config = tiny_sweep.worker_config(out / "runs" / "artifacts")
    with Store.open(f"sqlite:///{out}/runs/s.db") as store:
        runner.execute(sweep, store, worker_config, use_ray=False)
        records = store.records(sweep.name)
        Outbox(worker_config).put(records[0])
        assert {p.name for p in (out / "runs").glob("s.db*")} == {"s.db", "s.db-wal", "s.db-shm"}
        assert odd(out, umask) == {}
    for file in ("x/records.csv", "x/records.parquet"):
        to_file(records, out / file)
    to_tables(records, out / "tables")
    to_optuna(records, out / "o" / "optuna.db")
    to_tensorboard(records, out / "curves")
    write(records, out / "pages" / "report.html", title="x")
    make("digits", out / "pages" / "gallery.html")
    save_weights(
        make_runtime(worker_config).fresh(sweep.victims[0]),
        out / "repaired" / "repaired.safetensors",
    )
    load("train", root=str(pictures(out / "images")), size=8)
    far = artifacts_at(f"file://{out}/far")
    far.save("k", {"x": torch.zeros(2)}, {})
    assert far.load("k")
    names = {path.suffix for path in out.rglob("*")}
    assert names >= {
        ".db",
        ".csv",
        ".parquet",
        ".tex",
        ".html",
        ".safetensors",
        ".json",
        ".jsonl",
        ".npy",
        ".lock",
    }
    assert odd(out, umask) == {}


def test_worker_processes_follow_it_too(tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    compute = {"device": "cpu", "workers": 2, "time_limit": 100}
    spec.write_text(
        tiny_sweep.toml(tiny_sweep.table(defenses=tiny_sweep.DEFENSES[:1], compute=compute))
    )
    words = [
        "-m",
        "sweep.cli",
        "run",
        str(spec),
        "--local",
        "--store",
        f"sqlite:///{tmp_path}/out/s.db",
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        node_cache.VARIABLE: str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, *words], env=environment, cwd=tmp_path, umask=0o077, check=False
    )
    assert done.returncode == 0
    assert list((tmp_path / "out" / "artifacts").rglob("*.jsonl"))
    assert odd(tmp_path / "out", 0o077) == {}
