"""Repairs after data filters: which trials there are, that the plan counts them, and a whole sweep
on digits, from its file to the page.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import planned
import pytest
import tiny_sweep
from commands_run import Capture, called

from results.comparison.filters_and_repairs import treatments
from results.report.page import render
from results.store import Store
from results.tables import filters_and_repairs
from sweep.commands.plan import cost_estimate
from sweep.execution.preflight import check
from sweep.planning import expansion, filtering
from sweep.planning.stages import stages
from sweep.spec.sweep_file import Sweep
from trials.dependencies import training_of
from trials.run import run
from trials.runtime import TrialRuntime
from trials.storage.artifacts import Artifacts

ATTACKS = [[{"name": "badnets", "m": 60}, {"name": "blended", "m": 60}]]
ATTACKED = {**tiny_sweep.VICTIM, "attacks": ATTACKS}
FILTERS: list[dict[str, Any]] = [
    {"name": "spectral_signatures", "profile": "small", "reject": [0.2, 0.4]}
]
REPAIR = {"name": "fine_tuning", "profile": "small", "limit": 1}
DEFENSES: list[dict[str, Any]] = [{**REPAIR, "fixed": {"steps": 20, "batch": 32}}]


def sweep(**changes: Any) -> Sweep:
    given: dict[str, Any] = {
        "game": "filtering",
        "filters": FILTERS,
        "defenses": DEFENSES,
        "trusted": 0.25,
        "self_poisoning": {},
        "tuning": {"record_every": 10},
        "victim": {**ATTACKED, "attacks": [*ATTACKS, "none"]},
        **changes,
    }
    return tiny_sweep.sweep(**given)


def test_every_attacked_model_is_repaired_once_a_seed_filtered_or_not() -> None:
    of = sweep(seeds=[0, 1], trusted=[0.2, 0.25], defenses=tiny_sweep.DEFENSES)
    trials = filtering.repairs(of, of.defenses[0])
    plain = [t for t in trials if t.victim.filter is None]
    kept = [t for t in trials if t.victim.filter]
    assert len(plain) == 2 * 2 * 2  # settings, r, seeds; the clean victim has nothing to repair
    assert len(kept) == 2 * 2 * 2 * 2  # and rejections
    assert all(t.victim.attacks for t in trials)
    for t in kept:
        assert t.victim.filter is not None
        assert (t.seed, t.trusted) == (t.victim.filter.seed, t.victim.filter.trusted)
    expansion.bounded(of)


def test_defenses_change_no_trial_of_the_filters() -> None:
    def without_repairs(of: Sweep) -> list[str]:
        victims = [v for f in of.filters for v in filtering.filtered(of, f)]
        trained = [*filtering.scorings(victims), *filtering.trainings(victims)]
        return [t.id for t in (*expansion.victims(of), *trained)]

    assert without_repairs(sweep()) == without_repairs(sweep(defenses=[]))
    of = sweep(defenses=[])
    assert not any(t.method for t in _asked(of))


def _asked(of: Sweep) -> list[Any]:
    """All trials of a sweep whose stages need no record."""
    with Store.open("sqlite://") as store:
        strategies = [s for stage in stages(of, store) for s in stage]
        found = []
        for s in strategies:
            while (trial := s.ask()) is not None:
                found.append(trial)
    return found


def test_a_repair_is_the_robustness_trial_of_the_model_trained_on_kept_rows() -> None:
    of = sweep()
    victim = next(v for v in filtering.filtered(of, of.filters[0]) if v.attacks)
    trials = [t for t in filtering.repairs(of, of.defenses[0]) if t.victim.id == victim.id]
    config = expansion.configurations(of, of.defenses[0])[0]
    assert [t.id for t in trials] == [t.id for t in expansion.real(of, victim, 0.25, config, 0)]


@pytest.mark.slow
def test_a_sweep_of_filters_and_a_repair_from_its_file_to_the_page(
    tmp_path: Path, store: Store, capsys: Capture
) -> None:
    of = sweep(filters=[{**FILTERS[0], "reject": 0.4}], victim=ATTACKED)
    check(of, tiny_sweep.worker_config(tmp_path / "artifacts"))
    plan = cost_estimate(of, store)
    runtime = TrialRuntime(Artifacts(tmp_path / "artifacts"))
    ran = planned.whole(of, store, answer=lambda trial: run(trial, runtime))
    records = store.records("tiny")
    assert {r.status for r in records} == {"done"}, [r.error for r in records if r.error]
    assert sum(line.trials for line in plan) == len(ran) == len(records)
    assert [line.trials for line in plan if line.what == "fine_tuning"] == [2]
    assert all(line.done == line.trials for line in cost_estimate(of, store))
    games = Counter(t.game.name for t in ran)
    assert games == {"training": 1 + 1, "filtering": 1, "robustness": 2}

    by_trial = {r.trial.id: r for r in records}
    for r in records:
        if r.trial.game.name == "robustness":  # it starts from the model of the kept rows
            before = by_trial[training_of(r.trial.victim).id].metrics
            start = r.curve[0]
            assert (start.cda, start.asr) == (before["cda"], before["asr"])
            assert start.extra["asr/blended"] == before["asr/blended"]
            assert len(r.curve) > 1

    (found,) = treatments(records)
    assert {t.kind for t in found.found} == {"nothing", "filter", "repair", "pair"}
    table = filters_and_repairs.table(records).set_index("what")
    assert len(table) == 4 and table["on the front"].any()
    assert table["removed (%)"]["pair"] == pytest.approx(40, abs=1)
    assert table["removed (%)"]["repair"] == 0
    page = render(records, title="tiny")
    assert "order, is spectral_signatures (40\u00a0%), then fine_tuning: at most" in page
    assert "filters-plane-0" in page
    url = f"sqlite:///{tmp_path}/store.db"
    assert called("best", "--sweep", "tiny", "--store", url) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "The best pair, by the judge's order, is spectral_signatures" in shown


def test_a_crafted_attack_is_not_crafted_to_see_that_repairs_can_run(tmp_path: Path) -> None:
    given = {**tiny_sweep.VICTIM, "attacks": [{"name": "sleeper_agent", "m": 20, "target": 3}]}
    of = sweep(victim=given)
    check(replace(of, filters=of.filters[:1]), tiny_sweep.worker_config(tmp_path))
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
