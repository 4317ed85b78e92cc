"""Winners read from a store are those of all its records, though few of their curves are read."""

import dataclasses
import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from synthetic import trial, tuned, victim

from results.selection.contenders import stored_winners
from results.selection.rules import DEFAULT_RULE, RULES
from results.selection.winners import winners
from results.store import Store
from trials.spec import Point, Record


def swept(rng: random.Random, settings: int) -> Iterator[Record]:
    """Three seeds of each setting of two defenses on two victims, some lost, some too dear to be
    run; the copies of a seed carry a trigger of one kind more often than those of another.
    """
    for of in (victim(seed=0), victim(seed=1)):
        for defense in ("weight_decay", "nad"):
            for _ in range(settings):
                params = {"lr": 10 ** rng.uniform(-3, -1)}
                dear, lost = rng.random() < 0.1, rng.random() < 0.2
                left = max(0.0, rng.uniform(-1, 1))
                for seed in range(3):
                    # as a later version wrote it, whose setting is new
                    said = {"precision": "fp32", **params} if seed == 2 else params
                    points = [(0, 0.95, 1.0), (50, 0.94, left), (100, 0.9, 0.0)][: 1 if dear else 3]
                    record = tuned(points, "tuning", defense, said, seed=seed, of=of)
                    record = carrying(record, rng, twice=("patch", "warp")[seed % 2])
                    if dear:
                        metrics = {**record.metrics, "cda_given": 0.9}
                        record = dataclasses.replace(record, metrics=metrics)
                    yield broken(record, rng) if lost and seed else record


def carrying(record: Record, rng: random.Random, twice: str) -> Record:
    """Copies of which two carry one kind of trigger, and one the other; or all three the first, as
    the other was not learned.
    """
    assert record.trial.method is not None
    one = record.trial.seed == 1 and float(record.trial.method.params["lr"]) < 0.004
    points = list[Point]()
    for p in record.curve:
        asrs = {}
        for kind in ("patch", "warp"):
            asrs[kind] = min(1.0, max(0.0, p.asr + (p.step > 0) * rng.gauss(0, 0.2)))
        extra = {f"asr/{kind}": asr for kind, asr in asrs.items() if kind == twice or not one}
        mean = asrs[twice] if one else (sum(asrs.values()) + asrs[twice]) / 3
        points.append(dataclasses.replace(p, asr=mean, extra=extra))
    return dataclasses.replace(record, curve=tuple(points))


def broken(record: Record, rng: random.Random) -> Record:
    if rng.random() < 0.5:
        return Record(trial=record.trial, status="failed", error="RuntimeError: no")
    return dataclasses.replace(record, status="pruned", metrics={})


@pytest.mark.parametrize("seed", range(3))
def test_winners_of_a_store_are_those_of_its_records(tmp_path: Path, seed: int) -> None:
    records = list(swept(random.Random(seed), settings=12))
    real = tuned([(0, 0.95, 1.0), (50, 0.94, 0.1)], "robustness", "nad", {"lr": 0.1})
    with Store.open(f"{tmp_path}/s.db") as store:
        store.add_sweep("s", {})
        store.put_many([*records, real], "s")
        for rule in RULES:
            assert stored_winners(store, "s", rule) == winners(store.records("s"), rule)
        found = stored_winners(store, "s")
    assert any(w.too_costly for w in found)
    assert any(w.failed for w in found)


def test_a_defense_of_which_every_setting_lost_a_seed_has_a_winner(tmp_path: Path) -> None:
    records = list(chain.from_iterable(pair(i) for i in range(5)))
    with Store.open(f"{tmp_path}/s.db") as store:
        store.add_sweep("s", {})
        store.put_many(records, "s")
        found = stored_winners(store, "s", DEFAULT_RULE)
        assert found == winners(store.records("s"))
    assert [(w.eta, w.tried, w.failed) for w in found] == [(0.2, 5, 5)]


def pair(i: int) -> list[Record]:
    """A setting of which one seed failed."""
    params = {"lr": 0.1 * (i + 1)}
    done = tuned([(0, 0.95, 1.0), (50, 0.94, 0.2 + 0.1 * i)], "tuning", "nad", params)
    lost = trial("tuning", "nad", params, seed=1)
    return [done, Record(trial=lost, status="failed", error="RuntimeError: no")]
