"""Stores from strangers: damaged files, other programs' tables, rows that no trial gave, and names
that are markup.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
import tiny_sweep
from fences import MARK, escapes, fenced
from fuzzing import command, process, tries
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import ANY, changed, places
from pages import HOSTILE, Page, hostile
from strange_weights import mutated

from results.report.own_accuracy import Own
from results.report.page import render
from results.report.verdicts import Applied, Passed
from results.selection.understood import Class, Understood
from results.selection.winners import winners
from results.stats.intervals import paired
from results.store import Store
from trials.spec import MethodConfig, Record

pytestmark = pytest.mark.fuzz

READERS = {
    "status": ["status"],
    "best": ["best"],
    "front": ["front"],
    "best-json": ["best", "--json"],
    "csv": ["export", "--out", "x.csv"],
    "parquet": ["export", "--out", "x.parquet"],
    "optuna": ["export", "--optuna", "study.db"],
    "tensorboard": ["export", "--tensorboard", "logs"],
    "tables": ["export", "--tables", "tables"],
    "report": ["report", "--out", "x.html"],
}
QUICK = ("status", "best", "front", "best-json", "csv")
NASTY = (
    HOSTILE,
    "\x1b[2J\x1b]0;owned\x07",
    "x" * 10**6,
    *escapes(),
    "a\nb\r\x08",
    "=1+1",
    "",
    "{}",
    "[]",
    "null",
    "NaN",
    "1e999",
    "[" * 20_000,
    "9" * 5000,
    '"\\ud800"',
    '{"name": 1}',
    b"\xff\xfe",
    None,
    -1,
    2**62,
    1e308,
    float("inf"),
    0.5,
)
COLUMNS = {
    "trials": (
        "id",
        "victim_id",
        "game",
        "method",
        "trusted",
        "seed",
        "status",
        "spec",
        "asked",
        "error",
        "seconds",
        "provenance",
        "finished",
    ),
    "curves": ("trial_id", "step", "cda", "asr", "seconds", "more"),
    "scores": ("trial_id", "name", "value"),
    "sweeps": ("name", "spec", "created"),
    "sweep_trials": ("sweep", "trial_id", "position"),
    "victims": ("id", "spec"),
}


def kept(path: Path, records: list[Record], name: str = "tiny") -> bytes:
    """The bytes of a store that holds these records."""
    with Store.open(f"sqlite:///{path}") as store:
        store.add_sweep(name, {})
        store.put_many(records, name)
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    records = synthetic.sweep(n=3)
    return kept(tmp_path_factory.mktemp("kept") / "s.db", [*records, *synthetic.judged(records)])


@contextlib.contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        yield connection
        connection.commit()


def read(kind: str, reader: str, *extra: object) -> str:
    """One command over ``s.db`` in the working folder."""
    verdict, _, _ = command(kind, *READERS[reader], "--store", "s.db", *extra)
    known = {
        "s.db",
        "s.db-wal",
        "s.db-shm",
        "s.db-journal",
        *(w for words in READERS.values() for w in words[2:3]),
    }
    made = {p.name for p in Path.cwd().iterdir()} - known - {"x.curves.csv", "x.curves.parquet"}
    assert not made, made
    if verdict == "refused" and reader not in ("csv", "parquet", "tables", "tensorboard"):
        assert not [name for name in READERS[reader][2:3] if Path(name).exists()], (
            "a refused file is there"
        )
    return verdict


@tries(100)
@given(damage=st.data(), reader=st.sampled_from(QUICK))
def test_a_damaged_file_is_read_or_one_line(
    damage: st.DataObject, reader: str, whole: bytes
) -> None:
    with fenced() as here:
        (here / "s.db").write_bytes(damage.draw(mutated(whole)))
        read("stores, damaged files", reader)


@tries(100)
@given(
    place=st.sampled_from([(t, c) for t, columns in COLUMNS.items() for c in columns]),
    value=st.sampled_from(NASTY)
    | st.text(max_size=20)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False),
    row=st.integers(0, 10),
    reader=st.sampled_from(QUICK),
)
@example(place=("trials", "error"), value="", row=3, reader="status")
@example(place=("sweeps", "name"), value="\x1b[2J", row=0, reader="status")
@example(place=("trials", "status"), value="finished", row=0, reader="status")
def test_any_value_in_any_column_is_read_or_one_line(
    place: tuple[str, str], value: Any, row: int, reader: str, whole: bytes
) -> None:
    table, column = place
    with fenced() as here:
        (here / "s.db").write_bytes(whole)
        with (
            raw(here / "s.db") as connection,
            contextlib.suppress(sqlite3.IntegrityError, UnicodeEncodeError),
        ):
            which = (
                "1"
                if row == 0
                else f"{column} IN (SELECT {column} FROM {table} LIMIT 1 OFFSET {row})"
            )
            connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {which}", (value,))
        read("stores, any value", reader)


@tries(100)
@given(
    data=st.data(),
    column=st.sampled_from(["spec", "provenance"]),
    reader=st.sampled_from([*QUICK, "optuna", "tensorboard", "tables"]),
)
def test_any_json_in_a_trial_is_read_or_one_line(
    data: st.DataObject, column: str, reader: str, whole: bytes
) -> None:
    with fenced() as here:
        (here / "s.db").write_bytes(whole)
        with raw(here / "s.db") as connection:
            rows = connection.execute(
                f"SELECT id, {column} FROM trials WHERE {column} IS NOT NULL"
            ).fetchall()
            which, text = rows[data.draw(st.integers(0, len(rows) - 1))]
            old = json.loads(text)
            path = data.draw(st.sampled_from(places(old)))
            new = json.dumps(changed(old, path, lambda _: data.draw(ANY)))
            connection.execute(f"UPDATE trials SET {column} = ? WHERE id = ?", (new, which))
        read("stores, any JSON", reader)


@tries(12)
@given(data=st.data(), reader=st.sampled_from(["report", "tables", "optuna", "report"]))
def test_a_report_of_settings_that_a_stranger_chose_is_made_or_one_line(
    data: st.DataObject, reader: str, whole: bytes
) -> None:
    scalar = st.one_of(
        st.text(max_size=5),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
    )
    with fenced() as here:
        (here / "s.db").write_bytes(whole)
        with raw(here / "s.db") as connection:
            for which, text in connection.execute("SELECT id, spec FROM trials").fetchall():
                spec = json.loads(text)
                for part in (spec["method"], spec["game"], *spec["victim"]["attacks"]):
                    if part and data.draw(st.integers(0, 9)) == 0:
                        part["params"][data.draw(st.text(max_size=3))] = data.draw(scalar)
                connection.execute(
                    "UPDATE trials SET spec = ? WHERE id = ?", (json.dumps(spec), which)
                )
        read("stores, reports", reader)


VERSION = (
    "CREATE TABLE poisonsweep_version (version_num); INSERT INTO poisonsweep_version VALUES ({});"
)
OURS = VERSION.format("'0001'")
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
ENDLESS = f"{NUMBERS} SELECT i AS name, '{{}}' AS spec, '' AS created FROM n"
HUGE = "CREATE TABLE sweeps (name, created, spec GENERATED ALWAYS AS (hex(zeroblob(400000000))))"
OTHERS = {
    "nothing": "",
    "another program's": "CREATE TABLE trials (trial_id INTEGER PRIMARY KEY); CREATE TABLE "
    "studies (a)",
    "our version and no tables": OURS,
    "our version twice": VERSION.format("'x'), ('0001'"),
    "a version that is no text": VERSION.format("x'ff00'"),
    "a version of controls": VERSION.format("char(27) || '[2J'"),
    "rows without end": f"{OURS} CREATE VIEW sweeps AS {ENDLESS}; CREATE VIEW trials AS SELECT 1",
    "a value of a GiB": f"{OURS} {HUGE}; INSERT INTO sweeps VALUES ('a', 'b');"
    "CREATE TABLE trials (id, status); CREATE TABLE sweep_trials (sweep, trial_id)",
    "a trigger": "CREATE TABLE a (b); CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END",
    "our tables with other columns": OURS + "".join(f"CREATE TABLE {t} (x);" for t in COLUMNS),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_database_that_is_no_store_is_refused(other: str, tmp_path: Path) -> None:
    spec = tiny_sweep.toml(tiny_sweep.table())
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.executescript(OTHERS[other])
    for words in (
        ["status"],
        ["best"],
        ["report"],
        ["export", "--out", "x.csv"],
        ["plan", "tiny.toml"],
    ):
        with fenced() as here:
            (here / "tiny.toml").write_text(spec)
            shutil.copy(tmp_path / "s.db", here)
            assert command("stores, other programs'", *words, "--store", "s.db")[0] == "refused"


def test_a_damaged_store_stops_a_run_before_it_computes(whole: bytes) -> None:
    cases = {
        b"cut": whole[: len(whole) // 2],
        b"text": b"SQLite format 3\0" + b"x" * 5000,
        b"no": b"hello" * 1000,
    }
    for content in cases.values():
        with fenced() as here:
            (here / "tiny.toml").write_text(tiny_sweep.toml(tiny_sweep.table()))
            (here / "s.db").write_bytes(content)
            assert (
                command("stores, damaged files", "run", "tiny.toml", "--local", "--store", "s.db")[
                    0
                ]
                == "refused"
            )
            assert not list(here.glob("artifacts/*/facts.json"))


def test_what_is_no_file_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.db")
    Path("folder.db").mkdir()
    Path("loop.db").symlink_to("loop.db")
    Path("zero.db").symlink_to("/dev/zero")
    Path("empty.db").touch()
    for name in (
        "pipe.db",
        "folder.db",
        "loop.db",
        "zero.db",
        "empty.db",
        "x" * 4000 + ".db",
        "\x1b[2J.db",
        "~nobody-of-that-name/x.db",
    ):
        assert process("stores, special files", "status", "--store", name)[0] == "refused"


ADDRESSES = (
    "sqlite:///x.db?timeout=abc",
    "sqlite:///x.db?nonsense=1",
    "sqlite://",
    "sqlite:///:memory:",
    "sqlite:///file:x?uri=true",
    "mysql://x/y",
    "sqlite+aiosqlite:///x",
    "postgresql+asyncpg://x",
    "postgresql://a:secret@127.0.0.1:1/x",
    "postgresql://127.0.0.1:99999/x",
    "://",
    "",
    "sqlite:///" + "x" * 5000,
    "postgresql://a:secret@[::1/x",
    "\x1b[2J://x",
    "os://x",
    "sqlite:////dev/null/x.db",
    "postgresql://h/x?port=secret",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_is_none_is_one_line(address: str) -> None:
    with fenced():
        for words in (["status"], ["best"]):
            verdict, _, said = command("command line", *words, "--store", address)
            assert verdict == "refused"
            assert "secret" not in said


@tries(60)
@given(
    st.lists(
        st.sampled_from(
            [
                "list",
                "plan",
                "best",
                "front",
                "report",
                "export",
                "status",
                "gallery",
                "--rule",
                "--sweep",
                "--json",
                "--out",
                "--dataset",
                *escapes(),
                "</script>",
                "\x1b[2J",
                "_private",
                "os",
                "__init__",
                "-1",
                "",
                "--image",
                "9" * 50,
            ]
        )
        | st.text(
            alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]),
            max_size=12,
        ),
        max_size=5,
    )
)
def test_any_words_are_a_command_or_one_line(words: list[str]) -> None:
    with fenced():
        if "gallery" not in words[:1]:
            command("command line", *words)


PATHS = (
    "",
    ".",
    "/",
    "..",
    "file",
    "file/x",
    "x" * 300,
    "/dev/full",
    "\x1b[2J.csv",
    "a\nb.csv",
    ".csv",
    "x.CSV",
    "../inside/x.csv",
    "/proc/x.csv",
)


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_a_place_that_cannot_be_written_is_one_line(path: str, whole: bytes) -> None:
    for words in (
        ["report", "--out"],
        ["export", "--out"],
        ["export", "--optuna"],
        ["export", "--tensorboard"],
        ["export", "--tables"],
    ):
        if path in ("/", "..") and words[1] in ("--tables", "--tensorboard"):
            continue  # folders that may be written
        if (
            path.lower().endswith(".csv")
            and words[1] in ("--tables", "--tensorboard", "--optuna")
            and path[0] != "\x1b"
        ):
            continue  # names as good as any other for these
        with fenced() as here:
            (here / "s.db").write_bytes(whole)
            (here / "file").touch()
            verdict, _, _ = command("command line", *words, path, "--store", "s.db")
            if verdict == "refused":
                made = {p.name for p in here.iterdir()} - {"s.db", "s.db-wal", "s.db-shm", "file"}
                assert not made, made


def test_names_of_strangers_write_nowhere_and_stay_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pages = (f"../../{MARK}", HOSTILE, "\x1b[2J", "a\0b")  # a page takes seconds
    for name in (*pages, f"/etc/{MARK}", ".."):
        with fenced() as here:
            kept(here / "s.db", hostile(), name)
            for reader in READERS if name in pages else READERS.keys() - {"report"}:
                assert read("stores, names", reader, "--sweep", name) == "accepted"
                shutil.rmtree(here / "logs", ignore_errors=True)
                shutil.rmtree(here / "tables", ignore_errors=True)
            assert pd.read_csv(here / "x.csv").shape[0] == len(hostile())
            if name not in pages:
                continue
            page = Page((here / "x.html").read_text(encoding="utf-8"))
            assert "img" not in {tag for tag, _ in page.tags}
            assert not any(
                key.startswith("on") for _, attributes in page.tags for key in attributes
            )
            assert len([a for tag, a in page.tags if tag == "script" and not a]) == 2
            assert not any(set("<>&") & set(data) for data in page.data)


def test_paths_of_a_strangers_files_stay_text_on_the_page_of_defend() -> None:
    records = []
    for record in synthetic.sweep(n=2):
        files = MethodConfig("given", {"weights": HOSTILE}, {"weights": HOSTILE})
        images = MethodConfig("image_folder", {"root": HOSTILE, "size": 8}, {"root": HOSTILE})
        victim = dataclasses.replace(
            record.trial.victim, training=files, dataset=images, attacks=()
        )
        trial = dataclasses.replace(record.trial, victim=victim)
        records.append(
            dataclasses.replace(
                record, trial=trial, error=HOSTILE if record.status == "failed" else None
            )
        )
    chosen = winners(records)[0]
    understood = Understood(
        model_sha256=HOSTILE,
        images_sha256=HOSTILE,
        images=20,
        size=8,
        flip=True,
        classes=(Class(HOSTILE, 10, 0.5, HOSTILE), Class(HOSTILE, 10, 0.5, HOSTILE)),
        skipped={HOSTILE: 1},
        converted={HOSTILE: 1},
        accuracy=0.5,
        sample=20,
        as_given=0.5,
        readings=(),
        warnings=(HOSTILE,),
    )
    own = Own(before=0.9, after=0.9, n=10, cost_interval=paired([0.0] * 10))
    passed = tuple(Passed(defense=HOSTILE, eta=0.0, cost=cost) for cost in (0.1, None))
    applied = Applied(
        winner=chosen,
        own=own,
        passed_over=passed,
        asked=(HOSTILE,),
        understood=understood,
        stopped=HOSTILE,
    )
    page = Page(render(records, title=HOSTILE, applied=applied))
    assert "img" not in {tag for tag, _ in page.tags}
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert len([a for tag, a in page.tags if tag == "script" and not a]) == 2
    assert not any(set("<>&") & set(data) for data in page.data)
    assert "window.owned=1" in page.read
