"""Several `poisonsweep run` processes on one store; a database that goes away; a password that
nobody sees.
"""

import os
import shutil
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import traced
from databases import Server
from programs import Program
from sqlalchemy import text
from waiting import eventually

from results.store import Store
from trials.spec import SpecError

pytestmark = pytest.mark.slow
HALF = [{**d, "fixed": {"steps": 60, "batch": 16}} for d in tiny_sweep.DEFENSES]  # seconds each
ROOT = Path(__file__).parents[3]
TRACED = Path(__file__).parents[1] / "traced.py"
SECRET = "hunter2 & Söhne"  # with characters that a URL has to quote
QUOTED = "hunter2%20%26%20S%C3%B6hne"
ALL = 1 + 1 + 4


def spec(folder: Path, **changes: Any) -> Path:
    file = folder / "tiny.toml"
    small = {"confirm": False, "judge": False, "defenses": HALF}
    compute = {"device": "cpu", "workers": 1, "lease": 10, **changes.pop("compute", {})}
    file.write_text(tiny_sweep.toml(tiny_sweep.table(**small | {"compute": compute} | changes)))
    return file


def start(file: Path, url: str) -> Program:
    """A driver in a process of its own."""
    words, environment = call(file, url)
    return Program(words, file.parent, environment)


def call(
    file: Path, url: str, use_ray: bool = False, **extra: str
) -> tuple[list[str], dict[str, str]]:
    """Words and environment for Python; without a URL the environment has to name the store."""
    words = [
        str(TRACED),
        "run",
        str(file),
        "--artifacts",
        str(file.parent / "artifacts"),
    ]
    words += (["--store", url] if url else []) + ([] if use_ray else ["--local"])
    path = os.pathsep.join([str(ROOT), str(TRACED.parent)])
    return words, {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **extra}


def stored(url: str) -> int:
    try:
        with Store.open(url, create=False) as store:
            return len(store.records())
    except SpecError:  # it is being made, or its database is away
        return 0


def begun(folder: Path) -> set[str]:
    """The trials that workers have started."""
    return {i for i, _ in traced.starts(folder / "artifacts")}


def test_two_drivers_of_one_sweep_run_each_trial_once(url: str, tmp_path: Path) -> None:
    file = spec(tmp_path)
    words, environment = call(file, url, TRACE_DRIVERS="2")
    drivers = [Program(words, file.parent, environment) for _ in range(2)]
    said = [d.communicate() for d in drivers]
    assert [d.returncode for d in drivers] == [0, 0], said
    ran = [i for i, _ in traced.starts(tmp_path / "artifacts")]
    assert len(ran) == len(set(ran)) == ALL
    assert len({driver for _, driver in traced.starts(tmp_path / "artifacts")}) == 2
    with Store.open(url, create=False) as store:
        assert {r.trial.id for r in store.records("tiny")} == set(ran)
        assert all(r.status == "done" for r in store.records())
        assert store.claimed(ran) == set()
    assert any("were run by other drivers" in out for out, _ in said)


def test_a_killed_drivers_trials_are_finished_by_the_other(url: str, tmp_path: Path) -> None:
    file = spec(tmp_path)
    killed = start(file, url)
    assert eventually(lambda: len(begun(tmp_path)) >= 3 or killed.poll() is not None)
    assert killed.poll() is None, killed.communicate()
    other = start(file, url)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    out, said = other.communicate()
    assert other.returncode == 0, said
    with Store.open(url, create=False) as store:
        assert len(store.records("tiny")) == ALL
    ran = [i for i, _ in traced.starts(tmp_path / "artifacts")]
    assert len(set(ran)) == ALL
    assert len(ran) <= ALL + 1  # the one that was killed
    assert "ran" in out


def test_an_interrupted_driver_releases_its_trials_at_once(url: str, tmp_path: Path) -> None:
    file = spec(tmp_path, compute={"lease": 3600})
    driver = start(file, url)
    assert eventually(lambda: len(begun(tmp_path)) >= 3 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()
    driver.send_signal(signal.SIGINT)
    assert driver.communicate()[1].splitlines()[-1].startswith("poisonsweep: stopped.")
    with Store.open(url, create=False) as store:
        assert store.claimed(begun(tmp_path)) == set()


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL server that is stopped and started."""
    own = Server()
    own.start()
    yield own
    own.remove()


@pytest.mark.postgres
def test_a_database_that_goes_away_for_a_while_is_waited_for(
    server: Server, tmp_path: Path
) -> None:
    url = server.url()
    driver = start(spec(tmp_path, compute={"workers": 2}), url)
    assert eventually(lambda: stored(url) >= 2 or driver.poll() is not None)
    server.stop("immediate")
    ready = eventually(
        lambda: bool(list((tmp_path / "artifacts" / "outbox").glob("[0-9a-f]*.json"))), 240
    )
    server.start()
    _, said = driver.communicate()
    assert ready
    assert driver.returncode == 0, said
    lines = [line for line in said.splitlines() if "cannot be used now" in line]
    assert len(lines) == 1
    assert "trying for up to 300 s" in lines[0]
    ran = [i for i, _ in traced.starts(tmp_path / "artifacts")]
    assert len(ran) == len(set(ran)) == ALL
    with Store.open(url, create=False) as store:
        assert {r.trial.id for r in store.records("tiny")} == set(ran)


@pytest.mark.postgres
def test_a_database_that_stays_away_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    url = server.url()
    driver = start(spec(tmp_path, compute={"workers": 2, "outage": 2}), url)
    assert eventually(lambda: stored(url) >= 2 or driver.poll() is not None)
    server.stop()
    out, said = driver.communicate()
    server.start()
    assert driver.returncode == 2, said
    assert "Traceback" not in said
    assert "could not be used for 2 s" in said.splitlines()[-1]
    assert out == ""
    finished = {r.trial.id for r in records(url)} | {
        f.stem for f in (tmp_path / "artifacts" / "outbox").glob("[0-9a-f]*")
    }
    again = start(spec(tmp_path), url)
    told = again.communicate()
    assert again.returncode == 0, told
    ran = [i for i, _ in traced.starts(tmp_path / "artifacts")]
    assert set(ran) == {r.trial.id for r in records(url)}
    assert len(finished) >= 2
    assert finished.isdisjoint(i for i, times in Counter(ran).items() if times > 1)


def records(url: str) -> list[Any]:
    with Store.open(url, create=False) as store:
        return store.records("tiny")


def test_a_file_that_is_locked_for_a_while_is_waited_for(tmp_path: Path) -> None:
    """The lock is held for longer than SQLite waits by itself."""
    heard: list[str] = []
    path = tmp_path / "s.db"
    with Store.open(str(path)) as store:
        with store._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=100")
            connection.rollback()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpecError, match="could not be used for 0.5 s: database is locked"):
            store.patient(0.5, heard.append).claim("0" * 16, "me", 60)

        def say(text: str) -> None:
            heard.append(text)
            other.execute("ROLLBACK")

        assert store.patient(60, say).claim("0" * 16, "me", 60)
    assert len(heard) == 2


def everything(url: str) -> str:
    """Every row of every table."""
    with Store.open(url, create=False) as store, store._engine.connect() as connection:
        names = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).all()
        return "".join(
            str(connection.execute(text(f"SELECT * FROM {name}")).all()) for name in names
        )


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("given", "use_ray"),
    [("environment", False), pytest.param("option", True, marks=pytest.mark.ray)],
)
def test_a_password_is_written_nowhere(
    postgres_server: Server, tmp_path: Path, use_ray: bool, given: str
) -> None:
    """Neither in the store, beside the weights, on the page, in print, in Ray's files, nor where a
    worker sees it.
    """
    url = postgres_server.url(QUOTED)
    ray = Path(tempfile.mkdtemp(prefix="ray-"))  # Ray's sockets want a short path
    fails = {
        "name": "fine_tuning",
        "profile": "small",
        "limit": 1,
        "fixed": {"steps": 6, "batch": 16, "lr": 1e30},
    }
    file = spec(
        tmp_path, compute={"workers": 2}, confirm=True, defenses=[*tiny_sweep.DEFENSES[:1], fails]
    )
    named = {"POISONSWEEP_STORE": url} if given == "environment" else {}
    own = {"RAY_TMPDIR": str(ray), "PGPASSWORD": SECRET, "TRACE_ENVIRONMENT": "1", **named}
    words, environment = call(file, "" if named else url, use_ray, **own)
    driver = Program(words, tmp_path, environment)
    assert eventually(lambda: bool(begun(tmp_path)) or driver.poll() is not None)
    line = Path(f"/proc/{driver.pid}/cmdline")
    seen = [line.read_bytes() if line.exists() else b""]
    seen += [said.encode() for said in driver.communicate()]
    assert driver.returncode == 0, seen
    assert [r.status for r in records(url)].count("failed") == 1
    page = str(tmp_path / "report.html")
    for asked in (
        ["status"],
        ["status", "--json"],
        ["best", "--json"],
        ["front"],
        ["report", "--out", page],
    ):
        shows = Program(["-m", "sweep.cli", *asked, "--store", url], ROOT, os.environ)
        seen += [said.encode() for said in shows.communicate()]
        assert shows.returncode == 0, seen
    seen.append(everything(url).encode())
    for path in (p for folder in (tmp_path, ray) for p in folder.rglob("*")):
        seen.append(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    shutil.rmtree(ray)
    assert any(b"TRACE_ENVIRONMENT" in text_ for text_ in seen)
    assert not [text_[:300] for text_ in seen if b"hunter2" in text_]
