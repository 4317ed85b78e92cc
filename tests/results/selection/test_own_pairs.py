"""Which filter and repair a defender takes, by what both leave of their own poison."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from synthetic import victim
from torch import nn

from results.report.own_pairs import sentences
from results.selection.own_pairs import own_pairs, pair_taken
from results.tables import own_pairs as table_of
from sweep.commands import filter_repair
from trials.runtime import TrialRuntime
from trials.spec import Filtering, MethodConfig, Point, Record, Trial, Victim
from trials.storage.artifacts import Artifacts
from trials.types import Images

SEEN = {
    "own_fpr": 0.1,
    "own_recall/patch": 0.95,
    "own_learned/patch": 0.9,
    "own_learned": 1.0,
    "own_recall": 0.95,
    "own_recall_min": 0.95,
    "removed": 0.2,
}


def filtered(name: str) -> Victim:
    given = Filtering(
        method=MethodConfig(name),
        reject="recall",
        trusted=0.25,
        seed=0,
        self_poisoning=MethodConfig("self_poison_data", {"attacks": 1}),
    )
    return replace(victim(), filter=given)


def scored(name: str, fpr: float) -> Record:
    game = MethodConfig("filtering", {"beta": 0.1, "quota": "global", "cap": 0.5, "delta": 0.02})
    trial = Trial(game=game, victim=filtered(name), method=None, trusted=0.25, seed=0)
    return Record(trial=trial, status="done", metrics={**SEEN, "own_fpr": fpr})


def tried(name: str, repair: str, *curve: tuple[float, float], before: float = 0.95) -> Record:
    """A curve of (accuracy, ASR), a point every 50 steps."""
    game = MethodConfig("own_repair", {"delta": 0.02, "record_every": 50, "patience": 3})
    trial = Trial(
        game=game, victim=filtered(name), method=MethodConfig(repair), trusted=0.25, seed=0
    )
    points = (Point(50 * i, c, a, 1.0, {"asr/patch": a}) for i, (c, a) in enumerate(curve))
    metrics = {"cda_before": before, "n_held": 100.0, "own_learned": 1.0}
    return Record(trial=trial, status="done", curve=tuple(points), metrics=metrics)


def taken(*records: Record) -> Any:
    every = [scored("first", 0.05), scored("second", 0.1), *records]
    found = pair_taken(every)
    assert found is not None and len(table_of.table(every)) == len(records)
    return found


def test_the_repair_stops_where_it_leaves_least_for_what_is_allowed() -> None:
    curve = ((0.95, 0.6), (0.94, 0.3), (0.93, 0.2), (0.92, 0.0))
    found = taken(tried("first", "none", (0.95, 0.6)), tried("first", "fst", *curve))
    assert found.pair.repair.name == "fst" and found.pair.point.step == 100
    assert found.pair.point.asr == 0.2 and round(found.pair.loss, 9) == 0.02
    assert "fst, stopped at step 100," in sentences(found)[0]


def test_what_is_hardly_less_adds_nothing() -> None:
    found = taken(
        tried("first", "none", (0.95, 0.1)), tried("first", "fst", (0.95, 0.1), (0.95, 0.06))
    )
    assert found.pair is found.alone and found.best.repair.name == "fst"
    assert sentences(found)[0].endswith("a repair adds nothing, none is taken.")


def test_a_repair_may_cost_what_the_filter_alone_costs() -> None:
    alone = tried("first", "none", (0.85, 0.5))
    assert taken(alone, tried("first", "fst", (0.85, 0.5), (0.86, 0.1))).pair.repair.name == "fst"
    assert taken(alone, tried("first", "fst", (0.85, 0.5), (0.84, 0.1))).pair.repair is None


def test_the_second_filter_is_taken_where_its_pair_leaves_less() -> None:
    records = [
        tried("first", "none", (0.95, 0.5)),
        tried("first", "fst", (0.95, 0.5), (0.95, 0.3)),
        tried("second", "none", (0.95, 0.5)),
        tried("second", "fst", (0.95, 0.5), (0.95, 0.1)),
    ]
    pair = taken(*records).pair
    assert pair.record.trial.victim.filter.method.name == "second"


def test_no_pair_is_taken_where_the_first_filter_alone_was_not_tried() -> None:
    records = [scored("first", 0.05), tried("first", "fst", (0.95, 0.5), (0.95, 0.1))]
    assert pair_taken(records) is None and own_pairs(records) == []


def test_a_repair_that_has_not_begun_is_no_pair() -> None:
    """Its start is the filter alone: 'stopped at step 0' would run all of it."""
    second = tried("second", "fst", (0.95, 0.1), (0.95, 0.3))
    found = taken(tried("first", "none", (0.95, 0.5)), second)
    assert (found.pair.repair.name, found.pair.point.step) == ("fst", 50)
    unbegun = tried("second", "fst", (0.95, 0.1))
    every = [scored("first", 0.05), tried("first", "none", (0.95, 0.5)), unbegun]
    assert [p.repair for p in own_pairs(every)] == [None]


def test_a_repair_that_diverges_on_the_last_model_leaves_it_as_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Constant(nn.Module):
        def __init__(self, logit: float) -> None:
            super().__init__()
            self.logit = nn.Parameter(torch.tensor(logit))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logit * torch.ones(len(x), 4)

    runtime = TrialRuntime(Artifacts(tmp_path))
    images = Images(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.arange(8) % 4, 4)
    rows = SimpleNamespace(probes=images, stamped=images, names=(), goals=())
    own = SimpleNamespace(rows=rows, before=lambda: Constant(1.0))
    monkeypatch.setattr(filter_repair, "repaired", lambda *_: Constant(math.nan))
    monkeypatch.setattr(filter_repair, "own_rows_in", lambda *_: own)
    monkeypatch.setattr(runtime, "trained", lambda _: Constant(1.0))
    pair = taken(
        tried("first", "none", (0.95, 0.6)), tried("first", "fst", (0.95, 0.6), (0.94, 0.1))
    )
    told = filter_repair.repair_of(pair, True, runtime)
    assert told.model is None and told.facts["applied"] is False
    assert "not finite" in told.facts["error"] and "as trained" in told.said[-1]
