"""A PostgreSQL server that only the tests use, where the system has one; it can be stopped and started."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

_NAMES = count()


@dataclass(frozen=True)
class Server:
    """A cluster in ``home``, which holds its socket too; ``binaries`` is the folder of pg_ctl."""

    home: Path
    binaries: Path

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.home}' -c max_connections=40"
        self._call("pg_ctl", "-D", f"{self.home}/data", "-w", "-o", options, "-l", f"{self.home}/log", "start")

    def stop(self) -> None:
        """At once, as in a crash."""
        self._call("pg_ctl", "-D", f"{self.home}/data", "-w", "-m", "immediate", "stop")

    def fresh(self) -> str:
        """The address of a new, empty database."""
        import psycopg  # noqa: PLC0415

        name = f"test_{next(_NAMES)}"
        with psycopg.connect(host=str(self.home), user="tester", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://tester@/{name}?host={self.home}"

    def _call(self, program: str, *words: str) -> None:
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
        command = [*as_postgres, str(self.binaries / program), *words]
        done = subprocess.run(command, cwd=self.home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def server() -> Iterator[Server]:
    """A server that runs; skips the test, and says why, where there can be none."""
    found = [Path(p) for p in (shutil.which("pg_ctl"),) if p] + sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not found:
        pytest.skip("no PostgreSQL server on this machine: install postgresql, or have pg_ctl on PATH")
    pytest.importorskip("psycopg")
    made = Server(Path(tempfile.mkdtemp(prefix="pg-")), found[-1].parent)
    if os.geteuid() == 0:
        try:
            shutil.chown(made.home, "postgres")
        except LookupError:
            made.home.rmdir()
            pytest.skip("no user named postgres on this machine: run the tests as another user than root")
    made._call("initdb", "-D", f"{made.home}/data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.home)
