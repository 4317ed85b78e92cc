"""A trial is one driver's at a time, on SQLite and on PostgreSQL, however many ask at once."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import Program
from sqlalchemy import Connection, event, text

from results.store import Store
from trials.spec import Record

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., Record]
ID = "0123456789abcdef"
IDS = [f"{i:016x}" for i in range(40)]
CLAIMER = f"""
import sys, random, time
from results.store import Store
url, me, start = sys.argv[1], sys.argv[2], float(sys.argv[3])
store = Store.open(url, create=False)
ids = [f"{{i:016x}}" for i in range({len(IDS)})]
random.Random(me).shuffle(ids)
time.sleep(max(0.0, start - time.time()))
for i in ids:
    if store.claim(i, me, 600):
        print(i, flush=True)
"""
CROSSING = """
import sys
sys.path.insert(0, {tests!r})
from one_record import record
from results.store import Store
me, step = sys.argv[2], int(sys.argv[3])
store = Store.open(sys.argv[1], create=False)
records = [record(seed, steps=2) for seed in range(12)][::step]
for _ in range(8):
    store.put_many(records, "s")
    for stored in records:
        store.claim(stored.trial.id, me, 0.01)
    store.renew(me, 0.01)
    store.forget([r.trial.id for r in records])
    store.release(me)
"""


def run(code: str, *words: str) -> Program:
    return Program(["-c", code, *words], ROOT, os.environ)


def gone(store: Store, trial_id: str = ID) -> None:
    """Wait until the database finds that the claim has run out."""
    while store.claimed([trial_id]):
        time.sleep(0.02)


def rows(store: Store) -> list[tuple[object, ...]]:
    with store._engine.connect() as connection:
        return [
            tuple(row) for row in connection.execute(text("SELECT trial_id, owner FROM claims"))
        ]


def test_a_claim_is_one_owners_until_it_is_released(store: Store) -> None:
    assert store.claim(ID, "a", 60)
    assert store.claim(ID, "a", 60)
    assert not store.claim(ID, "b", 60)
    assert store.claimed([ID, IDS[0]]) == {ID}
    store.release("b", ID)
    assert not store.claim(ID, "b", 60)
    store.release("a", ID)
    assert store.claimed([ID]) == set()
    assert store.claim(ID, "b", 60)


def test_an_owner_releases_all_of_its_own_and_no_others(store: Store) -> None:
    assert all(store.claim(i, "a", 60) for i in IDS[:3])
    assert store.claim(ID, "b", 60)
    store.release("a")
    assert rows(store) == [(ID, "b")]


def test_owners_are_those_whose_claims_last(store: Store) -> None:
    assert store.owners() == set()
    store.claim(ID, "a", 60)
    store.claim(IDS[0], "b", 60)
    store.renew("b", 0.01)
    while store.claimed([IDS[0]]):
        time.sleep(0.01)
    assert store.owners() == {"a"}


def test_a_claim_that_ran_out_is_another_owners_and_cannot_be_renewed(store: Store) -> None:
    assert store.claim(ID, "a", 0.05)
    gone(store)
    assert store.claim(ID, "b", 60)
    store.renew("a", 60)
    assert rows(store) == [(ID, "b")]
    assert not store.claim(ID, "a", 60)


def test_a_claim_is_kept_by_renewing(store: Store) -> None:
    assert store.claim(ID, "a", 0.05)
    store.renew("a", 60)
    time.sleep(0.1)
    assert not store.claim(ID, "b", 60)


def test_a_driver_whose_clock_is_wrong_takes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.claim(ID, "a", 60)
    wrong = time.time() + 10**6
    monkeypatch.setattr(time, "time", lambda: wrong)
    assert not store.claim(ID, "b", 60)


def test_a_record_ends_its_claim_with_it_or_neither(store: Store, make_record: Make) -> None:
    record = make_record()
    assert store.claim(record.trial.id, "a", 60)
    with pytest.raises(LookupError):
        store.put(record, "a sweep that was not added", "a")
    assert rows(store) == [(record.trial.id, "a")]
    assert store.put(record, owner="a")
    assert rows(store) == []
    assert store.records() == [record]


def test_a_claim_that_ran_out_but_was_not_taken_still_counts(
    store: Store, make_record: Make
) -> None:
    record = make_record()
    store.claim(record.trial.id, "a", 0.01)
    gone(store, record.trial.id)
    assert store.put(record, owner="a")
    assert store.records() == [record]


def test_a_late_record_is_dropped_while_another_driver_holds_the_trial(
    store: Store, make_record: Make
) -> None:
    record = make_record()
    store.claim(record.trial.id, "a", 0.01)
    gone(store, record.trial.id)
    assert store.claim(record.trial.id, "b", 60)
    assert not store.put(record, owner="a")
    assert store.records() == []
    assert rows(store) == [(record.trial.id, "b")]


def test_a_late_record_is_dropped_where_another_driver_has_stored_one(
    store: Store, make_record: Make
) -> None:
    first = make_record()
    lease_lost = dataclasses.replace(first, seconds=99.0)
    store.claim(first.trial.id, "b", 60)
    assert store.put(first, owner="b")
    assert not store.put(lease_lost, owner="a")
    assert store.records() == [first]
    assert rows(store) == []


def test_a_late_record_counts_where_nobody_took_the_trial_up(
    store: Store, make_record: Make
) -> None:
    record = make_record()
    assert store.put(record, owner="a")
    assert store.records() == [record]
    assert rows(store) == []


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_put_whose_answer_was_lost_may_be_repeated(
    store: Store, make_record: Make, status: str
) -> None:
    record = make_record(status=status)
    store.claim(record.trial.id, "a", 60)
    assert store.put(record, owner="a")
    assert store.put(record, owner="a")
    assert store.records() == [record]


def test_a_record_that_nobody_owns_ends_the_claim_of_a_killed_driver(
    store: Store, make_record: Make
) -> None:
    record = make_record()
    store.claim(record.trial.id, "killed", 60)
    assert store.put(record)
    assert rows(store) == []


def test_of_several_processes_each_id_is_claimed_by_exactly_one(store: Store, url: str) -> None:
    start = str(time.time() + 2)
    crew = [run(CLAIMER, url, f"driver {i}", start) for i in range(4)]
    said = [p.communicate() for p in crew]
    assert [p.returncode for p in crew] == [0] * 4, said
    taken = [words.split() for words, _ in said]
    assert sorted(i for ids in taken for i in ids) == IDS
    assert sorted((i, f"driver {n}") for n, ids in enumerate(taken) for i in ids) == sorted(
        rows(store)
    )


def test_overlapping_batches_in_opposite_orders_lock_nobody_out(store: Store, url: str) -> None:
    store.add_sweep("s", {})
    code = CROSSING.format(tests=str(Path(__file__).parents[1]))
    crew = [run(code, url, f"driver {i}", step) for i, step in enumerate(["1", "-1", "2", "-2"])]
    said = [p.communicate() for p in crew]
    assert [p.returncode for p in crew] == [0] * 4, said
    assert store.sweeps()[0].trials == 12


def test_records_stay_durable_beside_claims_that_need_not_be(
    tmp_path: Path, make_record: Make
) -> None:
    asked: list[tuple[str, int]] = []
    with Store.open(str(tmp_path / "s.db")) as store:

        def note(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
            if statement.startswith(("INSERT INTO claims", "INSERT INTO trials")):
                raw = connection.connection.driver_connection
                assert raw is not None
                asked.append(
                    (statement.split()[2], raw.execute("PRAGMA synchronous").fetchone()[0])
                )

        event.listen(store._engine, "before_cursor_execute", note)
        for seed in range(2):
            record = make_record(seed)
            store.claim(record.trial.id, "a", 60)
            store.put(record, owner="a")
    assert asked == [("claims", 1), ("trials", 2)] * 2
