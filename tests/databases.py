"""A private PostgreSQL server, where the system has one, that a test may also stop and start."""

import os
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import pytest
from programs import HANGS


class Server:
    """A PostgreSQL server on a socket in a folder of its own; anybody on this machine may be
    ``tester``.
    """

    def __init__(self) -> None:
        found = [Path(p) for p in (shutil.which("pg_ctl"),) if p]
        found += sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        if not found:
            pytest.skip(
                "no PostgreSQL server on this machine: install postgresql, or have pg_ctl on PATH"
            )
        pytest.importorskip("psycopg")
        self._binaries = found[-1].parent
        self.home = Path(tempfile.mkdtemp(prefix="pg-"))
        self._as_postgres: list[str] = []
        self._names = count()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            try:
                shutil.chown(self.home, "postgres")
            except LookupError:
                self.home.rmdir()
                pytest.skip(
                    "no user named postgres on this machine: run the tests as another user than "
                    "root"
                )
            self._as_postgres = ["runuser", "-u", "postgres", "--"]
        data = ("-D", str(self.home / "data"))
        self._call("initdb", *data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start it and wait until it answers."""
        how = (
            f"-c listen_addresses='' -c unix_socket_directories='{self.home}' -c max_connections=40"
        )
        self._call(
            "pg_ctl",
            "-D",
            str(self.home / "data"),
            "-w",
            "-t",
            str(HANGS),
            "-o",
            how,
            "-l",
            str(self.home / "log"),
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it under whoever is connected."""
        data = ("-D", str(self.home / "data"))
        self._call("pg_ctl", *data, "-w", "-t", str(HANGS), "-m", mode, "stop")

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.home)

    def url(self, password: str = "") -> str:
        """The address of a new, empty database; any password will do."""
        import psycopg  # noqa: PLC0415

        name = f"test_{next(self._names)}"
        with psycopg.connect(
            host=str(self.home), user="tester", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://tester{password and ':'}{password}@/{name}?host={self.home}"

    def _call(self, program: str, *words: str) -> None:
        command = [*self._as_postgres, str(self._binaries / program), *words]
        done = subprocess.run(command, cwd=self.home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
