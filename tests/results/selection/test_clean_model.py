"""What a winner costs a model that was never attacked: measured for winners, seen by no choice."""

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import tiny_sweep

from results.report.evidence import evidence
from results.report.recommendation import answer
from results.selection.confirmation import frozen, on_clean
from results.selection.winners import winners
from results.store import Store
from results.tables import judged, oracle
from sweep.execution import runner
from trials.spec import MethodConfig, Point, Record, Victim

CLEAN_VICTIM = synthetic.victim("", seed=3)
TUNED = synthetic.tuned([(0, 0.95, 1.0), (50, 0.94, 0.1)], defense="weight_decay")


def clean_run(
    end: float, of: Victim = CLEAN_VICTIM, stop_at: int = 50, defense: str = "weight_decay"
) -> Record:
    """The defense on a clean victim of CDA 0.96."""
    trial = synthetic.trial("robustness", defense, of=of, game_params={"stop_at": stop_at})
    curve = (Point(0, 0.96, 0.0), Point(stop_at, end, 0.0))
    return Record(
        trial=trial, status="done", metrics={"n_clean": 1000.0, "n_triggered": 1000.0}, curve=curve
    )


def test_it_is_the_loss_on_a_clean_victim_of_the_same_data_model_and_training() -> None:
    (w,) = winners([TUNED])
    found = on_clean(w, [TUNED, clean_run(0.93)])
    assert found is not None
    assert found.cda_loss == pytest.approx(0.03) and found.n_clean == 1000
    longer = replace(CLEAN_VICTIM, training=MethodConfig("sgd", {"epochs": 10}))
    others = [
        clean_run(0.5, of=longer),
        clean_run(0.5, of=synthetic.victim("", dataset="digits")),
        clean_run(0.5, of=synthetic.victim("badnets", seed=3)),
        clean_run(0.5, stop_at=100),
        clean_run(0.5, defense="fine_tuning"),
    ]
    assert on_clean(w, [TUNED, *others]) is None
    two = on_clean(w, [clean_run(0.93), clean_run(0.95, of=synthetic.victim("", seed=4)), *others])
    assert two is not None
    assert two.cda_loss == pytest.approx(0.02) and two.n_models == 2


def test_no_choice_sees_it_and_it_is_no_real_attack() -> None:
    (w,), clean = winners([TUNED]), clean_run(0.5)
    assert winners([TUNED, clean]) == [w]
    assert winners([TUNED, clean], "oracle") == [] and oracle.table([TUNED, clean]).empty
    assert frozen(w, [TUNED, clean]) == []


def test_the_table_says_it_beside_the_choice_and_nothing_where_no_clean_model_was_repaired() -> (
    None
):
    frame = judged.table([TUNED, clean_run(0.93)])
    assert frame[["split", judged.CLEAN]].to_numpy().tolist() == [["chosen: select", 3.0]]
    records = [TUNED, *synthetic.judged([TUNED])]
    bare, beside = judged.table(records), judged.table([*records, clean_run(0.96)])
    assert bare[judged.CLEAN].isna().all()
    assert beside.drop(columns=judged.CLEAN).equals(bare.drop(columns=judged.CLEAN))
    assert beside[judged.CLEAN].tolist() == [0.0, None, None]


def test_the_report_says_what_a_clean_model_loses() -> None:
    records = [TUNED, *synthetic.judged([TUNED])]
    for run, said in (
        (clean_run(0.93), "A model that was never attacked loses 3.0 points of clean accuracy by it"
         ", more than Δ (2.0) (96.0 % to 93.0 %, test images)."),
        (clean_run(0.95), "A model that was never attacked loses 1.0 points of clean accuracy by it"
         " (96.0 % to 95.0 %, test images)."),
    ):  # fmt: skip
        told = answer("here", winners(records), [*records, run])
        assert told is not None and said in told.sentences
        page = evidence(1, "here", [TUNED], [*records, run], "worst_kind_within_delta")
        assert judged.CLEAN in dict(page["judged"].headers)
    told = answer("here", winners(records), records)
    assert told is not None and not any("never attacked" in s for s in told.sentences)
    page = evidence(1, "here", [TUNED], records, "worst_kind_within_delta")
    assert judged.CLEAN not in dict(page["judged"].headers)


@pytest.mark.slow
def test_a_sweep_with_a_clean_victim_measures_it(tmp_path: Path) -> None:
    quick = {"name": "fine_tuning", "profile": "small", "limit": 1}
    sweep = tiny_sweep.sweep(
        victim={**tiny_sweep.VICTIM, "attacks": ["none", *tiny_sweep.VICTIM["attacks"]]},
        tuning={"copies": 1, "record_every": 2, "delta": 0.5},
        defenses=[{**quick, "fixed": {"steps": 4, "batch": 16}}],
        confirm=False,
        compute={"device": "cpu", "workers": 1},
    )
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        worker = tiny_sweep.worker_config(tmp_path / "artifacts")
        runner.execute(sweep, store, worker, use_ray=False)
        records = store.records()
    (w,) = (w for w in winners(records) if w.victim.attacks)
    seen = on_clean(w, records)
    assert w.step and seen is not None and not seen.victim.attacks
    (before,) = (
        r.metrics["cda"]
        for r in records
        if r.trial.game.name == "training"
        if r.trial.victim == seen.victim
    )
    assert seen.cda0 == before and seen.cda != before
