"""Attacks without a trigger: grouped over keys and victims, beside controls, apart from ASR."""

import json
from dataclasses import replace

import pytest
from synthetic import victim

from results.comparison.targeted_success import targeted_success
from results.export.frames import frame
from results.report.page import render
from results.report.targeted import targeted_section
from results.stats.intervals import wilson
from results.tables import filters, targeted, victims
from sweep.cli import targeted_views
from trials.spec import Filtering, MethodConfig, Record, Scalar, SpecError, Trial, Victim

CLEAN = {"cda": 0.9, "cda_control": 0.92, "wanted": 0.5, "wanted_control": 0.1, "m": 100.0}


def brewed(key: int, seed: int, **settings: Scalar) -> Victim:
    attack = MethodConfig("witches_brew", {"key": key, "budget": 0.01, "epsilon": 16, **settings})
    return replace(victim(), attacks=(attack,), seed=seed)


def measured(of: Victim, success: float, control: float = 0.0, status: str = "done") -> Record:
    trial = Trial(game=MethodConfig("targeted"), victim=of, method=None, trusted=0.0, seed=of.seed)
    if status == "failed":
        return Record(trial=trial, status="failed", error="ArithmeticError: diverged")
    found = {**CLEAN, "success": success, "success_control": control, "n_targeted": 1.0}
    return Record(trial=trial, status="done", metrics=found)


@pytest.fixture
def records() -> list[Record]:
    """Ten keys with three victims each: eight keys always succeed; and a weak attack."""
    found = []
    for key in range(10):
        found += [measured(brewed(key, s), float(key < 8), float(key == 9)) for s in range(3)]
    found += [measured(brewed(key, 0, epsilon=4), 0.0) for key in range(4)]
    return [*found, measured(brewed(0, 3), 0.0, status="failed")]


def test_keys_and_victims_of_one_attack_are_one_row(records: list[Record]) -> None:
    strong, weak = targeted_success(records)
    assert (strong.keys, len(strong.records), strong.failed) == (10, 30, 1)
    assert strong.rate("success") == pytest.approx(0.8)
    assert strong.cda_loss == pytest.approx(0.02)
    assert (weak.keys, weak.rate("success")) == (4, 0.0)


def test_victims_of_one_key_are_no_more_sure_than_the_key(records: list[Record]) -> None:
    strong, weak = targeted_success(records)
    found, keys = strong.interval("success"), wilson(0.8, 10)
    assert found.low == pytest.approx(keys.low, abs=0.02)
    assert found.high == pytest.approx(keys.high, abs=0.02)
    assert weak.interval("success") == wilson(0.0, 4)


def test_a_control_that_all_keys_share_is_one_model() -> None:
    every = [measured(brewed(key, s), 1.0, float(s == 0)) for key in range(30) for s in range(2)]
    (found,) = targeted_success(every)
    control = found.interval("success_control")
    assert control == wilson(0.5, 2) and not found.apart  # one of two controls errs on all keys


def test_apart_means_that_the_intervals_do_not_meet(records: list[Record]) -> None:
    strong, weak = targeted_success(records)
    assert strong.apart and not weak.apart
    few = [measured(brewed(key, 0), 1.0) for key in range(2)]
    assert not targeted_success(few)[0].apart  # two keys say little


def test_other_training_is_another_row(records: list[Record]) -> None:
    other = replace(brewed(0, 0), training=MethodConfig("paper"))
    assert len(targeted_success([*records, measured(other, 1.0)])) == 3


def kept(key: int, seed: int) -> list[Record]:
    """A victim whose training set spectral signatures filtered, with the filter's trial."""
    method = MethodConfig("spectral_signatures", {})
    filtering = Filtering(method=method, reject=0.1, trusted=0.05, seed=seed)
    of = replace(brewed(key, 0), filter=filtering)
    scored = Trial(game=MethodConfig("filtering"), victim=of, method=None, trusted=0.05, seed=seed)
    found = {"removed_poisoned": 0.5 + 0.1 * seed, "removed_clean": 0.09, "removed": 0.1}
    return [measured(of, 0.0), Record(trial=scored, status="done", metrics=found)]


def test_what_a_filter_keeps_is_another_row_over_the_seeds_of_the_filter(
    records: list[Record],
) -> None:
    filtered = [r for key in range(4) for seed in range(2) for r in kept(key, seed)]
    found = targeted_success([*records, *filtered])
    (mine,) = [t for t in found if t.filtering]
    assert (mine.keys, len(mine.records)) == (4, 8) and len(found) == 3
    assert mine.removed("poisoned") == pytest.approx(0.55)
    plain = next(t for t in found if not t.filtering)
    assert plain.removed("poisoned") is None
    made = targeted.table([*records, *filtered])
    (row,) = made[made["filter"] == "spectral_signatures"].to_dict("records")
    assert (row["rejects"], row["poisoned rows removed (%)"]) == ("10 %", 55.0)
    assert (row["clean rows removed (%)"], row["success (%)"]) == (9.0, 0.0)
    page = render([*records, *filtered], title="brew")
    assert "on what spectral_signatures (10\u00a0%) keeps" in page


def test_the_table_has_success_and_no_asr(records: list[Record]) -> None:
    made = targeted.table(records)
    assert not [c for c in made.columns if "ASR" in c] and len(made) == 2
    row = made.iloc[0]
    assert (row["success (%)"], row["control (%)"], row["epsilon"]) == (80.0, 10.0, 16)
    assert (row["keys"], row["victims"], row["failed"], row["intervals apart"]) == (10, 30, 1, True)
    assert "key" not in row["attack's settings"].split()
    assert not len(filters.table(records)) and not len(victims.table(records))
    failed = targeted.table([measured(brewed(0, 0), 0.0, status="failed")])
    assert failed.iloc[0]["failed"] == 1 and failed.iloc[0]["success (%)"] is None


def test_success_is_exported_as_itself(records: list[Record]) -> None:
    exported = frame(records)
    assert "success" in exported and ("asr" not in exported or exported["asr"].isna().all())


def test_the_page_says_it_first_and_asks_for_no_defense(records: list[Record]) -> None:
    page = render(records, title="brew")
    assert '<section id="targeted"' in page and "No answer yet" not in page
    section = targeted_section(records)
    assert section is not None
    assert "80.0\u00a0% of 30 victims" in page and "clearly more than without" in page
    assert "0.0 % of 4 victims" in section["sentences"][1]
    assert "not clearly more than without poison" in section["sentences"][1]
    assert targeted_section([]) is None


def test_best_says_it_to_people_and_programs(
    records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    targeted_views.best(targeted_success(records), as_json=True)
    strong, weak = json.loads(capsys.readouterr().out)
    assert (strong["success"], strong["keys"], strong["apart"]) == (0.8, 10, True)
    assert strong["attacks"][0]["settings"] == {"budget": 0.01, "epsilon": 16}
    assert weak["interval"]["low"] == 0.0
    targeted_views.best(targeted_success(records), as_json=False)
    assert "80%" in capsys.readouterr().out
    with pytest.raises(SpecError, match="run the sweep first"):
        targeted_views.best([], as_json=False)
