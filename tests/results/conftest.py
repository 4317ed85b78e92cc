"""What the tests of results share: records to store, and a private PostgreSQL server where the system has one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from trials.spec import Choice, Point, Record, Trial, Victim


@pytest.fixture
def make_record() -> Callable[..., Record]:
    return _record


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL server that only these tests use."""
    binaries = [Path(p) for p in (shutil.which("pg_ctl"),) if p] + sorted(
        Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    )
    if not binaries:
        pytest.skip("no PostgreSQL server on this machine: install postgresql, or have pg_ctl on PATH")
    pytest.importorskip("psycopg")
    folder = binaries[-1].parent
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    as_postgres = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            shutil.chown(home, "postgres")
        except LookupError:
            home.rmdir()
            pytest.skip("no user named postgres on this machine: run the tests as another user than root")
        as_postgres = ["runuser", "-u", "postgres", "--"]

    def call(*words: str) -> None:
        done = subprocess.run([*as_postgres, *words], cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    call(str(folder / "initdb"), "-D", str(home / "data"), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
    start = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c max_connections=40"
    call(str(folder / "pg_ctl"), "-D", str(home / "data"), "-w", "-o", start, "-l", str(home / "log"), "start")
    yield str(home)
    call(str(folder / "pg_ctl"), "-D", str(home / "data"), "-w", "-m", "immediate", "stop")
    shutil.rmtree(home)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that is not there yet, on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs/store.db"
    import psycopg  # noqa: PLC0415

    folder, name = request.getfixturevalue("postgres_server"), f"test_{next(_NAMES)}"
    with psycopg.connect(host=folder, user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql+psycopg://tester@/{name}?host={folder}"


_NAMES = count()


def _record(seed: int = 0, *, status: str = "done", steps: int = 20, asr: float = 0.01, **settings: object) -> Record:
    victim = Victim(
        dataset=Choice("digits"),
        model=Choice("resnet18", {"width": 8}),
        attacks=(Choice("badnets", {"m": 50, "target": 0}, {"mark": "0123456789abcdef"}),),
        training=Choice("sgd", {"lr": 0.1, "epochs": 2}),
        seed=7,
    )
    method = Choice("pivotal_tuning", {"lr": 1e-05, "steps": 2000, "nesterov": True, **settings})  # type: ignore[dict-item]
    trial = Trial(game=Choice("robustness", {"delta": 0.02}), victim=victim, method=method, trusted=0.01, seed=seed)
    if status == "failed":
        return Record(trial=trial, status="failed", error="Traceback ...\nValueError: no", seconds=0.5)
    curve = tuple(
        Point(50 * i, 0.93 - 0.002 * i, asr + (1 - asr) / (1 + i), 0.1 * i, {"loss": 1e22}) for i in range(steps)
    )
    return Record(
        trial=trial,
        status=status,  # type: ignore[arg-type]
        metrics={"cda": 0.9, "asr": asr},
        curve=curve,
        seconds=2.5,
        provenance={"python": "3.11.7"},
    )
