"""Reading a store changes nothing: not the file, not what lies beside it, not its schema, and no
file that it names.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.command import upgrade
from alembic.config import Config

from results.store import Store, read_only
from results.store.engine import MIGRATIONS, _engine, writing
from results.store.schema import VERSION_TABLE
from results.store.url import parse
from trials.spec import Record, SpecError

Make = Callable[..., Record]
ROOT = Path(__file__).resolve().parents[3]
OPEN = """
import sys, time
sys.path.insert(0, {tests!r})
from one_record import record
from results.store import Store
store = Store.open({url!r})
store.put(record(1))
print("stored", flush=True)
time.sleep(600)
"""


@pytest.fixture
def file(tmp_path: Path, make_record: Make) -> Path:
    """A store that nobody has open."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "s.db"
    with Store.open(str(path)) as store:
        store.add_sweep("s", {"seeds": [0]})
        store.put(make_record(), "s")
    return path


@contextlib.contextmanager
def another_driver(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has stored a record and has the store open still."""
    code = OPEN.format(tests=str(Path(__file__).parents[1]), url=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "stored\n"
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def seen(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.iterdir()}


def hot_journal(file: Path, victim: Path) -> None:
    """A rollback journal in the middle of a transaction, whose trailer names a super-journal:
    SQLite deletes that.
    """
    work = file.with_name("work.db")
    shutil.copy(file, work)
    with contextlib.closing(sqlite3.connect(work, isolation_level=None)) as link:
        for pragma in ("journal_mode=delete", "synchronous=full", "cache_size=1", "cache_spill=1"):
            link.execute(f"PRAGMA {pragma}").fetchall()
        link.execute("BEGIN IMMEDIATE")
        link.execute("CREATE TABLE filler (x)")
        for _ in range(200):
            # pages are spilt, so that the journal is synced while the transaction is open
            link.execute("INSERT INTO filler VALUES (randomblob(4000))")
        shutil.copy(work, file)
        journal = Path(f"{work}-journal").read_bytes()
        link.execute("ROLLBACK")
    work.unlink()
    name = str(victim).encode()
    trailer = (
        struct.pack(">I", 0x40000000 // 4096 + 1)
        + name
        + struct.pack(">II", len(name), sum(name) & 0xFFFFFFFF)
    )
    Path(f"{file}-journal").write_bytes(journal + trailer + bytes.fromhex("d9d505f920a163d7"))


class TestAStrangersStore:
    def test_with_a_hot_journal_is_what_sqlite_deletes_a_file_for(
        self, file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "victim").write_text("precious")
        hot_journal(file, tmp_path / "victim")
        with contextlib.closing(sqlite3.connect(file)) as link:
            link.execute("SELECT count(*) FROM trials").fetchone()
        assert not (tmp_path / "victim").exists()  # else the next test would show nothing

    @pytest.mark.parametrize(
        "how", [Store.read, Store.open, lambda url: Store.open(url, create=False)]
    )
    def test_with_a_hot_journal_is_refused_and_left(
        self,
        how: Callable[[str], Store],
        file: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(read_only, "WAIT", 0.1)
        (tmp_path / "victim").write_text("precious")
        hot_journal(file, tmp_path / "victim")
        before = seen(file.parent)
        with pytest.raises(
            SpecError, match=r"rollback journal 's.db-journal'.*move that file away"
        ) as caught:
            how(str(file))
        assert "\n" not in str(caught.value)
        assert (tmp_path / "victim").read_text() == "precious"
        assert seen(file.parent) == before

    def test_behind_a_link_is_looked_at_where_it_lies(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(read_only, "WAIT", 0.1)
        (tmp_path / "victim").write_text("precious")
        hot_journal(file, tmp_path / "victim")
        (tmp_path / "link.db").symlink_to(file)
        with pytest.raises(SpecError, match="rollback journal"):
            Store.read(str(tmp_path / "link.db"))
        assert (tmp_path / "victim").exists()

    @pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
    def test_whose_companion_is_a_link_is_refused(
        self, ending: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(read_only, "WAIT", 0.1)
        Path(f"{file}{ending}").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(SpecError, match="no regular file of its own"):
            Store.read(str(file))
        assert not (tmp_path / "elsewhere").exists()

    def test_whose_log_holds_content_is_read_and_neither_is_written(
        self, file: Path, make_record: Make
    ) -> None:
        with another_driver(file):
            pass  # killed, so its record is in the log alone
        Path(f"{file}-shm").unlink()
        before = seen(file.parent)
        with Store.read(str(file)) as store:
            assert store.records() == [make_record(), make_record(1)]
        assert seen(file.parent) == before

    @pytest.mark.parametrize("ending", ["-wal", "-shm"])
    def test_whose_companion_is_a_file_of_two_names_is_refused(
        self, ending: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(read_only, "WAIT", 0.1)
        (tmp_path / "victim").write_text("precious")
        Path(f"{file}{ending}").hardlink_to(tmp_path / "victim")
        with pytest.raises(SpecError, match="no regular file of its own"):
            Store.read(str(file))
        assert (tmp_path / "victim").read_text() == "precious"

    def test_journal_of_a_driver_that_makes_its_store_is_waited_for(self, file: Path) -> None:
        journal = Path(f"{file}-journal")
        journal.write_bytes(b"x")
        remover = ["sh", "-c", f"sleep 0.3; rm '{journal}'"]
        with subprocess.Popen(remover), Store.read(str(file)) as store:
            assert len(store.records()) == 1


class TestReading:
    def test_a_store_that_nobody_has_open_touches_nothing(self, file: Path) -> None:
        before = seen(file.parent)
        with Store.read(str(file)) as store:
            assert [row.name for row in store.sweeps()] == ["s"]
            assert len(store.records("s")) == 1
            assert seen(file.parent) == before
        assert seen(file.parent) == before

    def test_a_store_in_use_sees_what_is_in_the_log(self, file: Path, make_record: Make) -> None:
        with another_driver(file), Store.read(str(file)) as store:
            assert store.records() == [make_record(), make_record(1)]

    def test_cannot_write(self, file: Path, make_record: Make) -> None:
        with Store.read(str(file)) as store, pytest.raises(SpecError, match="readonly"):
            store.put(make_record(5))

    def test_goes_on_when_a_driver_begins_in_the_middle(
        self, file: Path, make_record: Make
    ) -> None:
        counts: list[int] = []

        def work() -> int:
            counts.append(len(store.records()))
            if len(counts) == 1:
                with Store.open(str(file)) as writer:
                    writer.put(make_record(2))
            return counts[-1]

        with Store.read(str(file)) as store:
            assert read_only.steadily(file, work) == 2
        assert counts == [1, 2]

    def test_a_file_that_never_holds_still_is_one_line(self, file: Path) -> None:
        with pytest.raises(SpecError, match="changed each time"):
            read_only.steadily(file, lambda: os.utime(file, ns=(0, file.stat().st_mtime_ns + 1)))

    def test_an_older_schema_is_read_and_stays(self, tmp_path: Path, make_record: Make) -> None:
        path = old_store(tmp_path / "old.db", make_record())
        before = path.read_bytes()
        with Store.read(str(path)) as store:
            assert store.records() == [make_record()]
        assert path.read_bytes() == before

    def test_an_older_schema_that_cannot_be_read_names_the_command_that_migrates(
        self, tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = old_store(tmp_path / "old.db", make_record())
        monkeypatch.setattr("results.store.engine.READABLE", ())
        with pytest.raises(
            SpecError, match=r"schema 0001 of an older poisonsweep.*`poisonsweep run"
        ):
            Store.read(str(path))


def old_store(path: Path, record: Record) -> Path:
    """A store as the first schema had it."""
    engine = _engine(parse(str(path)))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writing(engine).begin() as connection:
        config.attributes["connection"] = connection
        upgrade(config, "0001")
    store = Store(engine)
    store._writing(lambda connection: store._put(connection, [record], None))
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as link:
        assert link.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == ("0001",)
    return path


class TestRights:
    @pytest.mark.parametrize("in_use", [False, True])
    def test_a_store_in_a_folder_that_cannot_be_written_is_read(
        self, file: Path, make_record: Make, in_use: bool
    ) -> None:
        expected = [make_record()]
        if in_use:  # its driver was killed, so the last record is in the log alone
            with another_driver(file):
                pass
            Path(f"{file}-shm").unlink()
            expected.append(make_record(1))
        reachable(file)
        file.parent.chmod(0o555)
        try:
            with as_nobody(), Store.read(str(file)) as store:
                assert store.records() == expected
        finally:
            file.parent.chmod(0o755)

    def test_a_file_that_may_not_be_read_is_named_with_its_owner(self, file: Path) -> None:
        reachable(file)
        file.chmod(0o600 if not os.geteuid() else 0)
        with (
            as_nobody(),
            pytest.raises(SpecError, match=r"no right to read '.*s.db' \(owner \w+, mode 0"),
        ):
            Store.read(str(file))

    def test_a_folder_that_may_not_be_entered_is_named(self, file: Path) -> None:
        reachable(file)
        file.parent.chmod(0o700 if not os.geteuid() else 0)
        try:
            with (
                as_nobody(),
                pytest.raises(SpecError, match=r"no right to enter the folder '.*folder'"),
            ):
                Store.read(str(file))
        finally:
            file.parent.chmod(0o755)

    @pytest.mark.parametrize("part", ["file", "folder", "missing"])
    def test_a_run_is_told_which_right_is_missing(self, file: Path, part: str) -> None:
        reachable(file)
        what = {
            "file": "write to",
            "folder": "make files in the folder",
            "missing": "make files in the folder",
        }[part]
        if part == "missing":
            file = file.with_name("new.db")
        elif part == "folder":
            file.chmod(0o666)
            file.parent.chmod(0o555)
        else:
            file.parent.chmod(0o777)
            file.chmod(0o444)
        if part == "missing":
            file.parent.chmod(0o555)
        try:
            with as_nobody(), pytest.raises(SpecError, match=f"no right to {what}"):
                Store.open(str(file))
        finally:
            file.parent.chmod(0o755)


def reachable(file: Path) -> None:
    """pytest makes its folders for their owner alone."""
    for folder in file.parents:
        if folder.stat().st_uid == os.geteuid() and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)


class TestACopy:
    def test_of_a_store_in_use_holds_its_tables_at_once(self, tmp_path: Path) -> None:
        with Store.open(str(tmp_path / "s.db")):
            shutil.copy(tmp_path / "s.db", tmp_path / "copy.db")
            with Store.read(str(tmp_path / "copy.db")) as copy:
                assert copy.records() == []

    def test_of_a_store_in_use_lacks_only_the_last_seconds(
        self, tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("results.store.transactions.CHECKPOINT_SECONDS", 0.0)
        with Store.open(str(tmp_path / "s.db")) as store:
            store.put(make_record())
            shutil.copy(tmp_path / "s.db", tmp_path / "copy.db")
            with Store.read(str(tmp_path / "copy.db")) as copy:
                assert copy.records() == [make_record()]

    def test_that_got_nothing_is_told_how_to_copy(self, tmp_path: Path) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as link:
            link.execute("PRAGMA journal_mode=WAL")
        with pytest.raises(
            SpecError, match=r"no store.*in the log beside the original.*\.backup copy.db"
        ):
            Store.read(str(tmp_path / "copy.db"))
