"""Filtered training sets: averaged over seeds, ordered by what is left, in tables and a page."""

import json
from collections.abc import Mapping

import pytest
from synthetic import victim

from results.comparison.filtered_sets import bests, filtered_sets, trained_on_all
from results.export.frames import frame
from results.report.filters import filter_section
from results.report.page import render
from results.tables import filtered_attacks, filtered_classes, filters, victims
from sweep.cli import filter_views
from trials.spec import Filtering, MethodConfig, Record, SpecError, Trial, Victim

BEFORE = {"cda": 0.95, "asr": 1.0, "n_clean": 100.0, "n_triggered": 90.0}


def trained(of: Victim, **metrics: float) -> Record:
    trial = Trial(game=MethodConfig("training"), victim=of, method=None, trusted=0.0, seed=of.seed)
    return Record(trial=trial, status="done", metrics={**BEFORE, **metrics})


def screened(
    name: str,
    after: Mapping[str, float],
    *,
    reject: float | str = 0.4,
    seed: int = 0,
    **area: float,
) -> list[Record]:
    """The two records of a filter on the one victim of these tests."""
    filtering = Filtering(method=MethodConfig(name), reject=reject, trusted=0.01, seed=seed)
    plain = victim()
    of = Victim(
        dataset=plain.dataset,
        model=plain.model,
        attacks=plain.attacks,
        training=plain.training,
        seed=plain.seed,
        filter=filtering,
    )
    trial = Trial(game=MethodConfig("filtering"), victim=of, method=None, trusted=0.01, seed=seed)
    said = {"auroc": 0.9, "auroc/badnets": 0.9, "removed/badnets": 0.8, "m/badnets": 500.0}
    said |= {"removed": 0.4, "kept_min": 0.3, "kept_max": 0.9, "kept/0": 0.3, "kept/1": 0.9, **area}
    return [Record(trial=trial, status="done", metrics=said), trained(of, **after)]


@pytest.fixture
def records() -> list[Record]:
    found = [trained(victim())]
    found += screened("costly", {"asr": 0.0, "cda": 0.90})
    found += screened("good", {"asr": 0.02, "cda": 0.94})
    found += screened("good", {"asr": 0.04, "cda": 0.94}, seed=1, auroc=0.7)
    found += screened("bad", {"asr": 0.8, "cda": 0.95}, reject="own")
    return found


def test_seeds_are_averaged_and_the_least_asr_at_an_accepted_cost_leads(
    records: list[Record],
) -> None:
    sets = filtered_sets(records)
    assert [s.filtering.method.name for s in sets] == ["good", "bad", "costly"]
    good = sets[0]
    assert (len(good.scored), len(good.trained)) == (2, 2)
    assert good.score("auroc") == pytest.approx(0.8) and good.asr("badnets") == pytest.approx(0.03)
    assert good.cda_loss == pytest.approx(0.01) and good.within_delta
    assert not sets[2].within_delta and good.asr_before("badnets") == 1.0
    assert good.kept == {0: 0.3, 1: 0.9}
    assert bests(sets) == sets[:1]
    assert [r.trial.victim.filter for r in trained_on_all(records)] == [None]
    assert len(victims.table(records)) == 1


def test_a_filter_that_failed_or_waits_is_last_and_has_no_number(records: list[Record]) -> None:
    scored, after = screened("broken", {})
    failed = Record(trial=after.trial, status="failed", error="Traceback ...\nValueError: no")
    sets = filtered_sets([*records, scored, failed])
    assert sets[-1].filtering.method.name == "broken" and sets[-1].failed == 1
    assert sets[-1].after("cda") is None and sets[-1].asrs == []
    row = filters.table([*records, scored, failed]).iloc[-1]
    assert row["max ASR (%)"] is None and row["AUROC"] == 0.9 and row["within 2 points"] is None


def test_rejections_are_rows_of_their_own(records: list[Record]) -> None:
    longer = [*records, *screened("good", {"asr": 0.5, "cda": 0.95}, reject=0.2)]
    table = filters.table(longer)
    assert sorted(table["rejects"]) == ["20 %", "40 %", "40 %", "its own rule"]
    attacks = filtered_attacks.table(longer)
    assert len(attacks) == 4 and set(attacks["one attack"]) == {"badnets"}
    assert attacks.iloc[0]["95 % interval (%)"].startswith("1.0 – ")
    assert len(filtered_classes.table(longer)) == 8
    for module in (filters, filtered_attacks, filtered_classes):
        assert module.table([]).empty and tuple(module.table([]).columns) == module.COLUMNS


def test_the_page_has_the_part_and_no_answer_that_nobody_asked_for(records: list[Record]) -> None:
    section = filter_section(records)
    assert section is not None and section["sentences"][0].endswith(
        "good removes 40.0 % of the rows, leaves at most 3.0 % ASR of any attack (before: "
        "100.0 %), gives 94.0 % CDA, 1.0 points lost."
    )
    assert filter_section(records[:1]) is None
    page = render(records, title="filters")
    assert 'id="filters"' in page and "No answer yet" not in page
    assert 'id="filters"' not in render(records[:1], title="filters")


def test_best_ranks_filters_where_no_defense_was_tuned(
    records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    filter_views.best(filtered_sets(records), True)
    told = json.loads(capsys.readouterr().out)
    assert [t["filter"] for t in told] == ["good", "bad", "costly"]
    assert [t["overall"] for t in told] == [True, False, False]
    assert told[0]["max_asr"] == pytest.approx(0.03) and told[1]["reject"] == "own"
    filter_views.best(filtered_sets(records), False)
    shown = capsys.readouterr().out
    assert "* good" in shown and "no defender sees" in shown
    with pytest.raises(SpecError, match="no model is trained on what a filter keeps yet"):
        filter_views.best(filtered_sets(screened("good", {})[:1]), False)


def test_a_frame_names_the_filter_and_what_it_rejects(records: list[Record]) -> None:
    table = frame(records)
    assert table["filter"].dropna().tolist()[:2] == ["costly", "costly"]
    assert set(table["reject"].dropna()) == {"0.4", "own"}
