"""Real `poisonsweep run` processes, what they leave on disk, and what their workers did."""

import contextlib
import json
import os
import signal
import sqlite3
import time
import tomllib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import counting
import tiny_sweep
from programs import Program

from results.store import Store
from results.store.url import file_of, parse
from trials.json_forms import record_from_json, to_json
from trials.spec import Record

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SPEC = HERE / "chaos.toml"
METHODS = HERE / "methods"
# in the environment of every process that a run starts, workers and Ray's alike
MARK = "POISONSWEEP_TEST_RUN"
HELPERS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # their titles, which they take late
SCRIPTS = ("dashboard/agent.py", "_private/runtime_env/agent/main.py")
LONGEST = 1200  # seconds that a run may take on a slow and busy machine


def until(what: Callable[[], bool], seconds: float = LONGEST, nap: float = 0.005) -> bool:
    """Wait until something holds; False if it does not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(nap)
    return what()


def is_helper(command: str) -> bool:
    """Whether a process's words are those of one of Ray's own two helpers, not of the node that
    started it.
    """
    return command.startswith(HELPERS) or any(
        word.endswith(SCRIPTS) for word in command.split(" ")[:4]
    )


@dataclass
class Run:
    """A sweep's folder, and the driver process that works on it, one after another."""

    folder: Path
    spec: Path = SPEC
    store: str = ""
    use_ray: bool = False
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    artifacts: Path = Path()
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    driver: Program | None = None
    starts: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = self.store or f"sqlite:///{self.folder}/store.db"
        self.artifacts = self.folder / "artifacts" if self.artifacts == Path() else self.artifacts

    def start(self, *options: str) -> None:
        """Start the driver, in a process group of its own."""
        words = ["-m", "sweep.cli", "run", str(self.spec), "--store", self.store]
        words += [
            "--artifacts",
            str(self.artifacts),
            *([] if self.use_ray else ["--local"]),
            *self.options,
            *options,
        ]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment = {
            **kept,
            "OMP_NUM_THREADS": "1",
            "POISONSWEEP_METHODS": str(METHODS),
            MARK: self.mark,
        }
        environment |= {"PYTHONPATH": str(ROOT), **self.environment}
        self.starts += 1
        with self.said.open("wb") as said:
            self.driver = Program(words, self.folder, environment, said)

    @property
    def said(self) -> Path:
        """Where the latest driver's output goes."""
        return self.folder / f"said.{self.starts}"

    @property
    def over(self) -> bool:
        assert self.driver is not None
        return self.driver.poll() is not None

    def end(self) -> int:
        """Wait for the driver; its exit code."""
        assert self.driver is not None
        try:
            return self.driver.wait(LONGEST)
        finally:
            self.sweep_up()

    def complete(self, *options: str) -> str:
        """Run to the end; what the driver said."""
        self.start(*options)
        code = self.end()
        assert code == 0, self.said.read_text()
        return self.said.read_text()

    def kill(self, everything: bool) -> None:
        """SIGKILL the driver alone, or all processes at once as when a machine goes down."""
        assert self.driver is not None
        if everything:
            # Ray's workers are groups of their own
            others = self.processes() if self.use_ray else {}
            os.killpg(self.driver.pid, signal.SIGKILL)
            while others:
                for pid in others:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                others = self.processes()
        else:
            self.driver.kill()
        self.driver.wait()

    def processes(self) -> dict[int, str]:
        """Processes of this sweep that live, by their environment."""
        wanted, found = f"{MARK}={self.mark}".encode(), {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                # Ray's are found by the environment that they were started with, forks by the
                # folder they work in
                # Ray writes its titles over this
                mine = wanted in (entry / "environ").read_bytes().split(b"\0")
                if mine or (entry / "cwd").readlink().is_relative_to(self.folder):
                    found[int(entry.name)] = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    )
            except OSError:
                continue
        return found

    def quiet(self, helpers: bool = False) -> dict[int, str]:
        """What still lives half a minute after the driver's end, or four on Ray; nothing should.

        A worker of Ray's that was starting when its node died has no trial yet, and looks for the
        node for a minute. Ray's own two helpers compute nothing and take a minute to see that they
        are alone; with ``helpers`` they are waited for, and counted, too.
        """

        def left() -> dict[int, str]:
            return {p: c for p, c in self.processes().items() if helpers or not is_helper(c)}

        until(lambda: not left(), 360 if helpers else 240 if self.use_ray else 30, 0.05)
        return left()

    def sweep_up(self) -> None:
        """End what this run started, for a test that failed."""
        if self.driver is not None and self.driver.poll() is None:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            self.driver.wait()

    def records(self) -> dict[str, Record]:
        """Every record of the store, and those that only the outbox has."""
        found = {r.trial.id: r for r in self.pending()}
        for record in self.stored():
            if (twin := found.get(record.trial.id)) is not None:
                assert to_json(twin) == to_json(record), "the outbox and the store differ"
            found[record.trial.id] = record
        return found

    def stored(self) -> list[Record]:
        if (file := file_of(parse(self.store))) is not None and not file.exists():
            return []
        try:
            with Store.open(self.store, create=False) as store:
                return store.records()
        except ValueError as problem:  # killed before the tables were made
            assert "there is no store" in str(problem), problem
            return []

    def pending(self) -> list[Record]:
        """The records that no driver has taken yet; read only."""
        found = []
        for file in sorted((self.artifacts / "outbox").glob("[0-9a-f]*.json")):
            found.append(record_from_json(json.loads(file.read_text())))
        return found

    def started(self) -> list[str]:
        """The trials that workers have started, by their event logs."""
        return counting.started(self.artifacts)

    def event_log(self) -> list[dict[str, Any]]:
        """Every line that workers wrote, with the process it is of, in the order of time."""
        return counting.event_log(self.artifacts)

    def intact(self) -> bool:
        """SQLite's own check of the file."""
        if not (self.folder / "store.db").exists():
            return True
        with contextlib.closing(sqlite3.connect(self.folder / "store.db")) as raw:
            whole = [row[0] for row in raw.execute("PRAGMA integrity_check")] == ["ok"]
            return whole and not raw.execute("PRAGMA foreign_key_check").fetchall()


@dataclass(frozen=True)
class Undisturbed:
    """What the sweep gives that nobody killed, and the seconds until its first trial started."""

    records: dict[str, Record]
    startup: float


def undisturbed_run(run: Run) -> Undisturbed:
    """Run a sweep to its end."""
    began = datetime.now(UTC)
    said = run.complete()
    records = run.records()
    assert f"ran {len(records)} trials (0 failed, 0 pruned)" in said
    assert sorted(run.started()) == sorted(records)
    return Undisturbed(
        records, (datetime.fromisoformat(run.event_log()[0]["time"]) - began).total_seconds()
    )


def spec_with(folder: Path, **changes: Any) -> Path:
    """The sweep's file with other tables in place of some."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "changed.toml"
    file.write_text(tiny_sweep.toml({**tomllib.loads(SPEC.read_text()), **changes}))
    return file


def victim_with(**changes: Any) -> dict[str, Any]:
    """The sweep's [victim] table with other values."""
    return {**tomllib.loads(SPEC.read_text())["victim"], **changes}


def defense(name: str, limit: int = 1) -> dict[str, Any]:
    """A defense as the sweep has it, with so many points; the first is the same for every limit."""
    return {"name": name, "profile": "small", "limit": limit, "fixed": {"steps": 4, "batch": 16}}


def agree(some: Mapping[str, Record], whole: Mapping[str, Record], at_least: int) -> bool:
    """True when the trials that both have gave the same, and are so many."""
    both = some.keys() & whole.keys()
    here, there = outcomes(some), outcomes(whole)
    return len(both) >= at_least and all(here[i] == there[i] for i in both)


def frozen(records: Mapping[str, Record]) -> dict[str, str]:
    """Each record as text, times and provenance too: what must never change once it is there."""
    return {i: json.dumps(to_json(r), sort_keys=True) for i, r in records.items()}


def outcomes(records: Mapping[str, Record]) -> dict[str, tuple[Any, ...]]:
    """What must be the same in every run, bit for bit."""
    return {i: tiny_sweep.outcome(r) for i, r in records.items()}
