"""What every store promises, on SQLite and on PostgreSQL; then what only a file can get wrong."""

import dataclasses
import json
import math
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from results.store import Store
from results.store.engine import MIGRATIONS, _engine, writing
from results.store.schema import REVISION, VERSION_TABLE, metadata
from results.store.url import parse
from trials.spec import MethodConfig, Point, Record, SpecError

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., Record]
WRITER = """
import sys; sys.path.insert(0, {tests!r})
from one_record import record
from results.store import Store
store = Store.open({url!r})
for seed in range(10**6):
    made = record(seed)
    store.put(made)
    print(made.trial.id, flush=True)
"""


def query(store: Store, words: str) -> list[tuple[object, ...]]:
    with store._engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(words))]


class TestEveryStore:
    @pytest.mark.parametrize("status", ["done", "failed", "pruned"])
    def test_gives_back_what_was_put(self, store: Store, make_record: Make, status: str) -> None:
        record = make_record(status=status)
        store.put(record)
        assert store.get(record.trial.id) == record
        assert store.get(record.trial.id).trial.id == record.trial.id  # type: ignore[union-attr]
        assert store.records() == [record]

    def test_knows_nothing_of_a_trial_that_was_not_put(self, store: Store) -> None:
        assert store.get("0" * 16) is None
        assert store.statuses(["0" * 16]) == {}
        assert store.records() == []

    def test_keeps_one_row_a_trial_and_the_last_word(self, store: Store, make_record: Make) -> None:
        first, second = make_record(steps=20), make_record(steps=5, asr=0.5)
        store.put(first)
        store.put_many([first, second])
        assert store.records() == [second]
        assert query(store, "SELECT count(*) FROM trials") == [(1,)]
        assert query(store, "SELECT count(*) FROM curves") == [(5,)]

    def test_a_trial_without_a_method_or_curve_comes_back(
        self, store: Store, make_record: Make
    ) -> None:
        record = make_record(steps=0)
        record = dataclasses.replace(
            record, trial=dataclasses.replace(record.trial, method=None), metrics={}
        )
        store.put(record)
        assert store.get(record.trial.id) == record

    def test_keeps_a_traceback_that_holds_odd_characters(
        self, store: Store, make_record: Make
    ) -> None:
        record = dataclasses.replace(make_record(status="failed"), error="naïve \udc80 \0 end")
        store.put(record)
        assert store.get(record.trial.id).error == "naïve \\udc80 \\x00 end"  # type: ignore[union-attr]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("where", ["curve", "more", "metrics", "seconds"])
    def test_refuses_what_is_not_finite_and_keeps_what_it_had(
        self, store: Store, make_record: Make, bad: float, where: str
    ) -> None:
        good, other = make_record(), make_record(1)
        store.put(good)
        changes = {
            "curve": {"curve": (Point(0, 0.9, 0.1), Point(1, 0.9, bad))},
            "more": {"curve": (Point(0, 0.9, 0.1, extra={"loss": bad}),)},
            "metrics": {"metrics": {"asr": bad}},
            "seconds": {"seconds": bad},
        }[where]
        with pytest.raises(ValueError, match=r"finite"):
            store.put_many([other, dataclasses.replace(good, **changes)])  # type: ignore[arg-type]
        assert store.records() == [good]

    def test_refuses_a_failure_with_metrics(self, store: Store, make_record: Make) -> None:
        with pytest.raises(ValueError, match="measured nothing"):
            store.put(dataclasses.replace(make_record(status="failed"), metrics={"asr": 0.0}))
        assert store.records() == []

    def test_a_put_that_breaks_off_leaves_nothing(self, store: Store, make_record: Make) -> None:
        with pytest.raises(LookupError):
            store.put(make_record(), "a sweep that was not added")
        assert store.records() == []
        assert query(store, "SELECT count(*) FROM victims") == [(0,)]
        store.put(make_record())  # and the victim is written now
        assert len(store.records()) == 1

    def test_counts_a_sweep_and_keeps_its_order(self, store: Store, make_record: Make) -> None:
        store.add_sweep("s", {"lr": [1e-05]})
        created = store.sweeps()[0].created
        store.add_sweep("s", {"lr": [1.0]}, replace=True)
        records = [make_record(5, status="failed"), make_record(3), make_record(9)]
        for record in [*records, records[1]]:
            store.put(record, "s")
        (row,) = store.sweeps()
        assert (row.spec, row.created) == ({"lr": [1.0]}, created)
        assert (row.trials, row.done, row.failed, row.pruned) == (3, 2, 1, 0)
        assert store.records("s") == records
        states = store.statuses([*(r.trial.id for r in records), make_record(1).trial.id])
        assert states == {r.trial.id: r.status for r in records}

    def test_another_spec_is_refused_unless_it_may_replace_the_first(
        self, store: Store, make_record: Make
    ) -> None:
        store.add_sweep("s", {"seeds": [0, 1]})
        store.put(make_record(), "s")
        store.add_sweep("s", {"seeds": [0, 1]})
        assert len(store.records("s")) == 1
        with pytest.raises(SpecError, match="seeds: 0, 1 there, 1, 2 here"):
            store.add_sweep("s", {"seeds": [1, 2]})
        assert [row.spec for row in store.sweeps()] == [{"seeds": [0, 1]}]
        assert len(store.records("s")) == 1
        store.add_sweep("s", {"seeds": [1, 2]}, replace=True)
        assert store.records("s") == []
        assert store.records() == [make_record()]

    def test_one_trial_may_be_in_two_sweeps(self, store: Store, make_record: Make) -> None:
        record = make_record()
        store.add_sweep("a", {})
        store.add_sweep("b", {})
        store.put(record, "a")
        store.link("b", record.trial.id)
        store.link("b", record.trial.id)
        assert store.records("a") == store.records("b") == [record]
        assert [row.trials for row in store.sweeps()] == [1, 1]

    def test_a_mistyped_sweep_is_the_users_to_fix(self, store: Store) -> None:
        store.add_sweep("figure4", {})
        with pytest.raises(SpecError, match="Did you mean 'figure4'"):
            store.records("figur4")

    def test_filters_by_game(self, store: Store, make_record: Make) -> None:
        store.put(make_record())
        assert len(store.records(game="robustness")) == 1
        assert store.records(game="tuning") == []

    def test_forgets_failures_only_and_plans_them_again(
        self, store: Store, make_record: Make
    ) -> None:
        good, failed = make_record(0), make_record(1, status="failed")
        store.add_sweep("s", {})
        store.put_many([good, failed], "s")
        assert store.forget([good.trial.id, failed.trial.id, "0" * 16]) == 1
        assert store.records("s") == [good]
        assert (store.sweeps()[0].trials, store.get(failed.trial.id)) == (2, None)

    def test_says_which_settings_were_asked_for(self, store: Store, make_record: Make) -> None:
        record = make_record()
        trial = dataclasses.replace(
            record.trial, method=MethodConfig("no_such_defense", {"lr": 0.5})
        )
        store.put(dataclasses.replace(record, trial=trial))
        ((asked,),) = query(store, "SELECT asked FROM trials")
        asked = json.loads(asked) if isinstance(asked, str) else asked
        assert asked["method"] == {"name": "no_such_defense", "params": {"lr": 0.5}}  # type: ignore[index]

    def test_readers_see_whole_records_while_one_writes(
        self, store: Store, url: str, make_record: Make
    ) -> None:
        versions = [make_record(asr=0.1, steps=20), make_record(asr=0.7, steps=15)]
        trial_id, over, seen = versions[0].trial.id, threading.Event(), list[bool]()
        store.put(versions[0])

        def read() -> None:
            with Store.open(url, create=False) as reader:
                while not over.is_set():
                    seen.append(reader.get(trial_id) in versions)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in readers:
            thread.start()
        for i in range(60):
            store.put(versions[i % 2])
        over.set()
        for thread in readers:
            thread.join()
        assert seen
        assert all(seen)

    def test_a_killed_writer_loses_nothing_it_had_acknowledged(self, url: str) -> None:
        code = WRITER.format(tests=str(Path(__file__).parents[1]), url=url)
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            ids = [process.stdout.readline().strip() for _ in range(40)]
            process.send_signal(signal.SIGKILL)
            ids += [line.strip() for line in process.stdout if line.endswith("\n")]
        with Store.open(url, create=False) as store:
            assert set(store.statuses(ids)) == set(ids)
            assert all(len(r.curve) == 20 for r in store.records())

    def test_opening_twice_changes_nothing(self, store: Store, url: str, make_record: Make) -> None:
        store.put(make_record())
        with Store.open(url) as again:
            assert again.records() == store.records()

    def test_refuses_a_newer_schema_and_leaves_it(
        self, store: Store, url: str, make_record: Make
    ) -> None:
        store.put(make_record())
        query_write(store, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        with pytest.raises(SpecError, match=r"newer poisonsweep \(schema 9999") as caught:
            Store.open(url)
        assert "\n" not in str(caught.value)
        assert query(store, f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]
        assert len(store.records()) == 1

    def test_migrates_an_older_schema_and_keeps_the_records(
        self,
        store: Store,
        url: str,
        make_record: Make,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        store.put(make_record())
        later = shutil.copytree(MIGRATIONS, tmp_path / "later")
        step = (
            f"import sqlalchemy as sa\nfrom alembic import op\nrevision = "
            f"'next'\ndown_revision = '{REVISION}'\n"
        )
        step += "def upgrade():\n    op.add_column('trials', sa.Column('note', sa.Text))\n"
        (later / "versions" / "next_note.py").write_text(step)
        monkeypatch.setattr("results.store.engine.MIGRATIONS", later)
        monkeypatch.setattr("results.store.engine.REVISION", "next")
        with Store.open(url, create=False) as migrated:
            assert query(migrated, "SELECT note FROM trials") == [(None,)]
            assert migrated.records() == [make_record()]

    def test_migrates_a_store_of_the_first_schema_which_had_no_claims(
        self, url: str, make_record: Make
    ) -> None:
        engine = _engine(parse(url))
        if engine.dialect.name == "sqlite":
            Path(url.removeprefix("sqlite:///")).parent.mkdir()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with writing(engine).begin() as connection:
            config.attributes["connection"] = connection
            upgrade(config, "0001")
        old, record = Store(engine), make_record()
        old._writing(lambda connection: old._put(connection, [record], None))
        old.close()
        with Store.open(url, create=False) as store:
            assert query(store, f"SELECT version_num FROM {VERSION_TABLE}") == [(REVISION,)]
            assert store.records() == [record]
            assert store.claim("0" * 16, "me", 60)

    def test_a_migration_that_breaks_off_leaves_the_old_schema(
        self,
        store: Store,
        url: str,
        make_record: Make,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        store.put(make_record())
        later = shutil.copytree(MIGRATIONS, tmp_path / "later")
        step = (
            f"import sqlalchemy as sa\nfrom alembic import op\nrevision = "
            f"'next'\ndown_revision = '{REVISION}'\n"
        )
        step += (
            "def upgrade():\n    op.add_column('trials', sa.Column('note', sa.Text))\n    "
            "raise RuntimeError('half')\n"
        )
        (later / "versions" / "next_note.py").write_text(step)
        with monkeypatch.context() as patch:
            patch.setattr("results.store.engine.MIGRATIONS", later)
            patch.setattr("results.store.engine.REVISION", "next")
            with pytest.raises(RuntimeError, match="half"):
                Store.open(url)
        with Store.open(url) as again:
            assert again.records() == [make_record()]
            assert "note" not in str(query(again, "SELECT * FROM trials"))

    def test_the_migrations_make_the_tables_that_the_code_uses(self, store: Store) -> None:
        with store._engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            assert compare_metadata(context, metadata) == []

    def test_leaves_another_programs_database_alone(self, url: str) -> None:
        engine = _engine(parse(url))
        if engine.dialect.name == "sqlite":
            Path(url.removeprefix("sqlite:///")).parent.mkdir()
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE trials (number int)"))
        with pytest.raises(SpecError, match="another program's table 'trials'"):
            Store.open(url)
        engine.dispose()

    def test_without_create_says_which_commands_make_a_store(self, url: str) -> None:
        with pytest.raises(SpecError, match="poisonsweep run"):
            Store.open(url, create=False)


def query_write(store: Store, words: str) -> None:
    with store._write.begin() as connection:
        connection.execute(text(words))


class TestAFile:
    def test_that_is_no_database_is_refused_and_left(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.db"
        path.write_text("not a database, but notes " * 100)
        before = path.read_bytes()
        with pytest.raises(SpecError, match="not a database") as caught:
            Store.open(str(path))
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before

    def test_in_a_place_that_is_no_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(SpecError, match="Choose a folder"):
            Store.open(str(tmp_path / "file" / "x.db"))

    def test_that_cannot_be_made_is_refused(self) -> None:
        with pytest.raises(
            SpecError, match=r"unable to open|Choose a folder|no right to make files"
        ):
            Store.open("/proc/self/store.db")

    def test_named_by_a_plain_path_is_made_with_its_folder(self, tmp_path: Path) -> None:
        with Store.open(str(tmp_path / "a" / "b.db")):
            assert (tmp_path / "a" / "b.db").exists()

    def test_that_is_missing_is_not_made_by_a_reader(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="there is no store"):
            Store.open(str(tmp_path / "a" / "b.db"), create=False)
        assert not (tmp_path / "a").exists()

    def test_is_durable_and_checks_its_keys(self, tmp_path: Path) -> None:
        with Store.open(str(tmp_path / "x.db")) as store:
            asked = [
                query(store, f"PRAGMA {name}")[0][0]
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
            assert asked == ["wal", 2, 1]
        assert sqlite3.connect(tmp_path / "x.db").execute("PRAGMA integrity_check").fetchone() == (
            "ok",
        )


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://me:hunter2@127.0.0.1:1/db",
        "postgresql://me:hunter2@127.0.0.1:1/db?connect_timeout=1",
        "postgresql+psycopg://me@127.0.0.1:1/db?password=hunter2",
        "mysql://me:hunter2@host/db",
        "nonsense+driver://me:hunter2@host/db",
        "postgresql+nodriver://me:hunter2@host/db",
        "postgresql://me:hunter2@host:notaport/db",
    ],
)
def test_no_error_shows_a_password(address: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(SpecError) as caught:
        Store.open(address)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, results.store, results.export.frames; "
        "print([m for m in ('torch', 'ray', 'alembic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_several_threads_may_make_stores_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        for store in threads.map(lambda i: Store.open(f"sqlite:///{tmp_path}/{i}.db"), range(4)):
            assert store.records() == []
            store.close()
