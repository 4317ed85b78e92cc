"""Many records at once are the very records that are read one by one."""

import json
import pickle
from array import array
from collections.abc import Callable
from dataclasses import replace

import pytest
import synthetic
from sqlalchemy import text

from results.export.frames import curve_frame, frame
from results.selection.fronts import fronts_of
from results.selection.rules import RULES
from results.selection.winners import winners
from results.store import Store, bulk
from trials.curve import Curve, Measured
from trials.json_forms import to_json
from trials.spec import Filtering, MethodConfig, Point, Record, SpecError, canonical

Make = Callable[..., Record]
FILTER = Filtering(method=MethodConfig("badloss", {"k": 50}), reject=0.4, trusted=0.2, seed=0)


def various(make: Make) -> list[Record]:
    """Records that share parts and differ in others, in every role that a trial has."""
    plain = [make(seed, lr=lr) for seed in (0, 1) for lr in (0.1, 1.0, 1e22)]
    detector = MethodConfig("neural_cleanse", {"steps": 10})
    copies = MethodConfig("self_poison", {"attack": 'a "victim":,"seed":0', "copy": 1})
    trial = plain[0].trial
    filtered = replace(trial.victim, filter=FILTER, attacks=())
    kinds = {"asr/patch": 0.25, "asr/warp": 1.0, "val_cda": 0.5, "loss": -3.5}
    curve = tuple(Point(p.step, p.cda, p.asr, p.seconds, kinds) for p in plain[0].curve)
    some = [
        replace(trial, detector=detector, method=None),
        replace(trial, self_poisoning=copies),
        replace(trial, victim=filtered, trusted=0.0),
        replace(trial, game=MethodConfig("tuning", {"trusted": 1, "x": ',"trusted":2}'})),
    ]
    odd = [replace(plain[0], trial=one, curve=curve, provenance={"ä": "é"}) for one in some]
    return [*plain, *odd, make(5, status="failed"), make(6, status="pruned", steps=2)]


def test_records_read_at_once_are_those_read_one_by_one(store: Store, make_record: Make) -> None:
    store.add_sweep("s", {})
    records = various(make_record)
    store.put_many(records, "s")
    found = store.records("s")
    assert found == records == [store.get(r.trial.id) for r in records]
    assert [canonical(to_json(r)) for r in found] == [canonical(to_json(r)) for r in records]
    assert [r.trial.id for r in found] == [r.trial.id for r in records]
    assert pickle.loads(pickle.dumps(found)) == records


def test_a_spec_that_is_written_otherwise_is_read_alike(store: Store, make_record: Make) -> None:
    """As by a version that knew no detectors, or by a program that puts spaces in JSON."""
    records = various(make_record)
    store.put_many(records)
    with store._engine.begin() as connection:
        for record in records:
            spec = to_json(record.trial)
            spec = spec if spec["detector"] else {k: v for k, v in spec.items() if k != "detector"}
            given = {"spec": json.dumps(spec), "id": record.trial.id}
            connection.execute(text("UPDATE trials SET spec = :spec WHERE id = :id"), given)
    assert sorted(store.records(), key=lambda r: r.trial.id) == sorted(
        records, key=lambda r: r.trial.id
    )


def test_failures_are_the_failed_ones_in_the_plans_order(store: Store, make_record: Make) -> None:
    store.add_sweep("s", {})
    failed = [make_record(seed, status="failed") for seed in (2, 1)]
    store.put_many([failed[0], make_record(0), failed[1]], "s")
    store.put(make_record(9, status="failed"))
    found = store.failures("s")
    assert [(f.trial, f.error) for f in found] == [(r.trial, r.error) for r in failed]


def test_what_no_trial_can_have_given_is_refused(store: Store, make_record: Make) -> None:
    changes = {
        "UPDATE curves SET asr = 1.5 WHERE step = 50": "'asr'",
        "UPDATE curves SET more = '{\"cda_0\": 2.0}' WHERE step = 50": "'cda_0'",
        "UPDATE curves SET more = '[1]' WHERE step = 50": "AttributeError",
        "UPDATE scores SET value = -1.0": "'cda'",
        "UPDATE trials SET provenance = '{\"a\": 1}'": "the provenance",
    }
    if store._engine.dialect.name == "sqlite":  # PostgreSQL takes JSON alone
        changes["UPDATE curves SET more = '1],[2' WHERE step = 50"] = "damaged"
    record = replace(make_record(), metrics={"cda": 0.5})
    for change, said in changes.items():
        store.put(record)
        assert store.records() == [record]
        with store._engine.begin() as connection:
            connection.exec_driver_sql(change)
        with pytest.raises(SpecError, match="damaged") as refused:
            store.records()
        assert said in str(refused.value)


def test_curves_that_several_blocks_of_rows_hold_are_whole(make_record: Make) -> None:
    """Also where a block is not as usual, whose points are not kept in columns."""
    point = Point(0, 0.9, 0.5, 1.0, {"asr/patch": 0.25, "loss": 2.0})
    curve = [replace(point, step=50 * i, asr=i / 16) for i in range(12)]
    rows = []
    for name in ("a", "b", "c"):
        rows += [(name, p.step, p.cda, p.asr, p.seconds, json.dumps(dict(p.extra))) for p in curve]
    rows[30] = (*rows[30][:5], '{"asr/patch": 0.25, "loss": 2}')
    for size in (5, 7, 12, 36, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bulk, "BLOCK", size)
            found = bulk.Reader().points(rows)
        assert [list(found[name]) for name in ("a", "b", "c")] == [curve] * 3
        assert isinstance(found["a"], Curve) == (size < 31)


@pytest.mark.parametrize("rule", RULES)
def test_winners_and_tables_are_those_of_the_records_that_were_stored(
    store: Store, rule: str
) -> None:
    store.add_sweep("s", {})
    records = synthetic.sweep(shares=(0.01, 0.05), n=3)
    kinds = [synthetic.of_kinds(r, patch=0.25, warp=0.5) for r in records if r.trial.method]
    records += [r for r in synthetic.judged(kinds) if r.trial.id not in {x.trial.id for x in kinds}]
    records = list({r.trial.id: r for r in [*records, *kinds]}.values())
    store.put_many(records, "s")
    found = store.records("s")
    assert winners(found, rule) == winners(records, rule)
    assert fronts_of(found) == fronts_of(records)
    assert frame(found).equals(frame(records)) and curve_frame(found).equals(curve_frame(records))


def test_measured_numbers_are_as_a_dict() -> None:
    names = {"a": 0, "b": 1}
    one = Measured(names, array("d", [9.0, 1.0, 2.0]), 1)
    assert one == {"a": 1.0, "b": 2.0} == dict(one) and {**one} == one
    assert (one.get("b"), one.get("c"), one.get("c", 3.0), len(one)) == (2.0, None, 3.0, 2)
    assert "a" in one and "c" not in one and list(one) == ["a", "b"]
    with pytest.raises(KeyError):
        one["c"]
    assert type(pickle.loads(pickle.dumps(one))) is dict
