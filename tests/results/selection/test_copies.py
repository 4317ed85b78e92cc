"""What speaks against the copies that a choice rests on is said in the answer, not in a table
alone.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic

from results.report.page import render
from results.report.recommendation import answer
from results.selection.copies import doubts
from results.selection.winners import winners
from results.store import Store
from sweep.cli import result_views
from trials.spec import MethodConfig, Record

TUNED = synthetic.tuned([(0, 0.9, 1.0), (100, 0.89, 0.01)])


def copy(number: int, cost: float | None, seed: int = 0) -> Record:
    trial = synthetic.trial("self_poison", "", seed=seed, game_params={"copy": number})
    if cost is None:
        error = (
            "Traceback\nRuntimeError: the planted backdoor reached an ASR of 0.310 in 1500 "
            "steps, not 0.95"
        )
        return Record(trial=trial, status="failed", error=error)
    return Record(
        trial=trial, status="done", metrics={"cda_before": 0.9, "cda": 0.9 - cost, "asr": 1.0}
    )


def said(*copies: Record) -> tuple[str, ...]:
    return doubts([TUNED, *copies], TUNED.trial, synthetic.DELTA)


def test_cheap_copies_are_not_doubted() -> None:
    assert said(copy(0, 0.0), copy(1, 0.02), copy(2, -0.01)) == ()


def test_copies_whose_self_poisoning_cost_more_than_delta_are_named_the_worst_first() -> None:
    (text,) = said(copy(0, 0.025), copy(1, 0.01), copy(2, 0.063))
    assert text.startswith(
        "Self-poisoning cost 2 of 3 copies more clean accuracy than Δ (2.0 points): "
    )
    assert "copy 2 of seed 0, 6.3 points; copy 0 of seed 0, 2.5 points" in text


@pytest.mark.parametrize(
    ("cost", "then"),
    [("copies", "looks cheaper than it is."), ("given", "are less like the given model.")],
)
def test_dear_copies_hide_the_cost_only_where_it_is_measured_on_them(cost: str, then: str) -> None:
    trial = synthetic.trial("tuning", game_params={"cost": cost})
    (text,) = doubts([copy(0, 0.025)], trial, synthetic.DELTA)
    assert text.endswith(then)


def test_copies_that_got_an_easier_trigger_are_named() -> None:
    other = copy(2, 0.0)
    (text,) = said(copy(0, 0.0), replace(other, metrics={**other.metrics, "fallback": 1}))
    assert text == (
        "1 copy (copy 2 of seed 0) did not learn the kind of trigger that was due, and got a patch "
        "instead: nothing is known of that kind."
    )


def test_of_many_dear_copies_the_worst_are_named() -> None:
    (text,) = said(*(copy(i, 0.03 + i / 100, seed=1) for i in range(7)))
    assert (
        "copy 6 of seed 1, 9.0 points" in text and "copy 0" not in text and "; and 3 more" in text
    )


def test_a_self_poisoning_that_missed_its_reach_is_named_with_what_it_reached() -> None:
    (text,) = said(copy(0, 0.0), copy(1, None))
    assert text.startswith(
        "Self-poisoning failed in 1 copy (copy 1 of seed 0), so nothing was tuned on it: "
        "RuntimeError:"
    )
    assert "an ASR of 0.310 in 1500 steps, not 0.95" in text


def test_copies_of_another_question_are_left_aside() -> None:
    dear = copy(0, 0.5)
    others = [
        replace(dear, trial=replace(dear.trial, trusted=0.5)),
        replace(dear, trial=replace(dear.trial, victim=synthetic.victim(seed=7))),
        replace(
            dear,
            trial=replace(dear.trial, game=MethodConfig("self_poison", {"copy": 0, "steps": 9})),
        ),
    ]
    assert said(*others) == ()


@pytest.fixture
def records() -> list[Record]:
    return [TUNED, copy(0, 0.063), copy(1, None)]


def test_the_answer_and_the_head_of_the_page_name_them(records: list[Record]) -> None:
    found = answer("", winners(records), records)
    assert found and set(said(*records[1:])) <= set(found.cautions)
    head = render(records, title="t").split("<h2>")[0]
    assert (
        "copy 0 of seed 0, 6.3 points" in head
        and "Self-poisoning failed in 1 copy (copy 1 of seed 0)" in head
    )


def test_best_names_them_in_words_and_as_json(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        store.add_sweep("s", {})
        store.put_many(records, "s")
        result_views.best(store, "s", "min_asr_within_delta", as_json=False)
        out = capsys.readouterr().out
        assert (
            "warning: Self-poisoning cost 1 of 1 copy more" in out
            and "warning: Self-poisoning failed in 1 copy" in out
        )
        result_views.best(store, "s", "min_asr_within_delta", as_json=True)
        assert (
            '"copies_doubted": [\n   "Self-poisoning cost 1 of 1 copy more'
            in capsys.readouterr().out
        )
