"""What a defender sees of filters, and the tests of whether their poison stands for others'."""

from dataclasses import replace
from typing import Any

import pytest
from synthetic import victim

from results.comparison.own_poison import Validity, validities
from results.report.filters import filter_section
from results.selection.filter_winner import filter_winners
from results.tables import own_poison, validity
from sweep.commands.filter_verdict import said_of
from trials.spec import Filtering, MethodConfig, Record, Scalar, Trial, Victim

OWN = MethodConfig("self_poison_data", {"attacks": 2})
SEEN = {
    "own_fpr": 0.1,
    "n_held": 100.0,
    "own_recall/patch": 0.95,
    "own_recall/blend": 0.95,
    "own_learned/patch": 0.9,
    "own_learned/blend": 0.9,
    "own_learned": 2.0,
    "own_recall": 0.95,
    "own_recall_min": 0.95,
    "removed": 0.2,
}
HELD = {"cda_held": 0.9, "cda_held_before": 0.91, "own_left": 0.0, "cda": 0.9, "asr": 0.1}


def done(game: str, of: Victim, **metrics: float) -> Record:
    params: dict[str, Scalar] = {"beta": 0.1, "quota": "global", "cap": 0.5, "delta": 0.02}
    config = MethodConfig(game, params if game == "filtering" else {})
    trial = Trial(game=config, victim=of, method=None, trusted=0.25, seed=0)
    return Record(trial=trial, status="done", metrics=metrics)


def pair(name: str, of: Victim, reject: float | str = "recall", /, **changes: Any) -> list[Record]:
    """The two records of a filter: its scores, and the training on what it keeps."""
    filtering = Filtering(
        method=MethodConfig(name), reject=reject, trusted=0.25, seed=0, self_poisoning=OWN
    )
    filtered = replace(of, filter=filtering)
    seen = {**SEEN, **{k: v for k, v in changes.items() if k not in HELD}}
    seen["own_recall/blend"] = seen["own_recall_min"]
    held = {**HELD, **{k: v for k, v in changes.items() if k in HELD}}
    return [done("filtering", filtered, **seen), done("training", filtered, **held)]


def test_the_filter_that_takes_fewest_clean_images_wins_if_it_finds_the_own_poison() -> None:
    of = victim()
    records = [
        *pair("blind", of, own_fpr=0.01, own_recall_min=0.3),
        *pair("good", of, own_fpr=0.05),
        *pair("dear", of, own_fpr=0.4, asr=0.0, **{"auroc/badnets": 1.0}),
    ]
    winners = filter_winners(records)
    names = [
        w.scored.trial.victim.filter.method.name for w in winners if w.scored.trial.victim.filter
    ]
    assert names == ["good", "dear", "blind"]  # the judge's ASR and AUROC count for nothing
    assert winners[0].cost == pytest.approx(0.01)
    assert winners[0].poisoned == pytest.approx((0.2 - 0.05) / (0.95 - 0.05))


def test_each_attack_has_to_be_found_as_its_own_images_promise_and_few_show_nothing() -> None:
    def finds(**changes: float) -> bool:
        few = {"own_images/patch": 40.0, "own_promised/patch": 0.9, "own_promised": 0.75}
        blend = {"own_images/blend": 4.0, "own_promised/blend": 0.75, "own_recall_min": 0.75}
        (found,) = filter_winners(pair("a", victim(), **{**few, **blend, **changes}))
        return found.finds

    assert finds()
    assert not finds(**{"own_recall/patch": 0.8})  # enough for four images, and it has forty
    assert not finds(**{"own_images/blend": 2.0, "own_promised/blend": 0.5})
    assert not finds(**{"own_promised/blend": 0.0, "own_recall_min": 0.0, "own_fpr": 0.0})


def test_what_was_not_learned_makes_no_filter_sure() -> None:
    of = victim()
    (some,) = filter_winners(pair("a", of, own_learned=1.0, **{"own_learned/blend": 0.2}))
    assert some.finds and some.unlearned == ["blend"]
    (none,) = filter_winners(pair("a", of, own_learned=0.0))
    assert not none.finds


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "filtered"),
        ({"own_learned/blend": 0.2, "own_learned": 1.0}, "not sure"),  # nothing is known of blends
        ({"own_recall_min": 0.5}, "not sure"),
        ({"cda_held": 0.8}, "too costly"),
        ({"own_left": 0.3}, "own poison left"),
        ({"own_fpr": 0.6}, "not sure"),  # any scores find enough: these take clean rows alike
    ],
)
def test_a_set_is_filtered_only_if_all_of_the_own_attacks_say_so(
    changes: dict[str, float], verdict: str
) -> None:
    (one,) = filter_winners(pair("a", victim(), **changes))
    told = said_of(one)
    assert (told["verdict"], told["exit_code"]) == (verdict, 0 if verdict == "filtered" else 3)


def test_no_set_is_filtered_of_which_no_model_was_trained() -> None:
    scored, _ = pair("a", victim())
    (one,) = filter_winners([scored])
    told = said_of(one, "the last training failed")
    assert (told["verdict"], told["exit_code"]) == ("not trained", 3)
    assert any("what that costs is not known" in note for note in told["notes"])


def test_rows_that_are_copies_of_few_images_are_told() -> None:
    rows = {"own_m/patch": 40.0, "own_images/patch": 10.0, "own_m/blend": 40.0}
    (one,) = filter_winners(pair("a", victim(), **rows))
    (note,) = (note for note in said_of(one)["notes"] if "shifted copies" in note)
    assert "rows of patch are" in note
    (whole,) = filter_winners(pair("a", victim()))
    assert not any("shifted copies" in note for note in said_of(whole)["notes"])


def test_of_few_images_no_more_is_asked_than_they_can_show() -> None:
    blend = {"own_recall_min": 0.75, "own_promised": 0.75, "own_promised/blend": 0.75}
    (few,) = filter_winners(pair("a", victim(), **blend))
    assert few.finds and few.wanted == 0.75
    (many,) = filter_winners(pair("a", victim(), own_recall_min=0.75))
    assert not many.finds and many.wanted == 0.9


def test_nothing_is_said_where_no_filter_has_finished() -> None:
    assert said_of(None)["verdict"] == "nothing ran"


def by_test(records: list[Record]) -> dict[str, Validity]:
    return {v.test: v for v in validities(records)}


def test_alike_scores_hold_and_others_fail() -> None:
    of = victim()
    assert by_test(pair("a", of, **{"ks/badnets": 0.1}))["a"].holds
    assert by_test(pair("a", of, **{"ks/badnets": 0.8}))["a"].holds is False


def covered(found: int, of_all: int, reject: float | str = "recall") -> list[Record]:
    every = [
        pair("a", replace(victim(), seed=s), reject, **{"removed/badnets": float(s < found)})
        for s in range(of_all)
    ]
    return [record for two in every for record in two]


def test_coverage_is_a_mean_over_twenty_attacks_or_more_less_its_error() -> None:
    assert by_test(covered(5, 5))["b"].holds is None
    assert by_test(covered(20, 20))["b"].holds
    assert by_test(covered(16, 20))["b"].holds is True  # .8, and .9 less 1.64 errors of .092 is .75
    assert by_test(covered(13, 20))["b"].holds is False  # .65, against .9 - 1.64 * .109 = .72


def test_an_attack_on_a_victim_is_one_pair_however_often_it_was_tried() -> None:
    of = replace(victim(), seed=1)
    twice = [
        *pair("a", of, **{"removed/badnets": 1.0}),
        *[replace(r, trial=replace(r.trial, seed=1)) for r in pair("a", of)],
    ]
    twice[2] = replace(twice[2], metrics={**twice[2].metrics, "removed/badnets": 0.0})
    (b,) = [v for v in validities(twice) if v.test == "b"]
    assert (b.pairs, b.value) == (1, 0.5)


def test_a_threshold_is_compared_with_a_fixed_share_on_victims_of_one_attack() -> None:
    of = victim()
    fixed = pair("a", of, 0.4, removed=0.4, asr=0.2)
    assert by_test([*pair("a", of, removed=0.1, asr=0.2), *fixed])["c"].holds
    assert by_test([*pair("a", of, removed=0.1, asr=0.3), *fixed])["c"].holds is False
    assert by_test([*pair("a", of, removed=0.5, asr=0.1), *fixed])["c"].holds is False
    assert "c" not in by_test(fixed)


def changed(records: list[Record], **how: Any) -> list[Record]:
    """The records with another threshold or seed of the filter."""
    found = []
    for r in records:
        assert r.trial.victim.filter is not None
        of = replace(r.trial.victim, filter=replace(r.trial.victim.filter, **how))
        found.append(replace(r, trial=replace(r.trial, victim=of)))
    return found


def test_each_beta_is_compared_and_another_seed_is_not() -> None:
    of = victim()
    fixed, mine = pair("a", of, 0.4, removed=0.4, asr=0.2), pair("a", of, removed=0.1, asr=0.2)
    strict = changed(pair("a", of, removed=0.1, asr=0.2), threshold={"beta": 0.05})
    assert by_test([*mine, *strict, *fixed])["c"].pairs == 2
    assert "c" not in by_test([*changed(mine, seed=7), *fixed])


def test_a_clean_set_must_stay_whole() -> None:
    clean = replace(victim(), attacks=())
    before = done("training", clean, cda=0.91)
    assert by_test([before, *pair("a", clean, removed=0.05)])["d"].holds
    assert by_test([before, *pair("a", clean, removed=0.4)])["d"].holds is False
    assert by_test([before, *pair("a", clean, removed=0.05, cda=0.8)])["d"].holds is False


def test_tables_and_page_say_so() -> None:
    records = pair("a", victim(), **{"ks/badnets": 0.8, "removed/badnets": 0.5})
    (row,) = own_poison.table(records).to_dict("records")
    assert row["rejects"] == "recall 90 %" and row["clean images taken (%)"] == 10.0
    assert len(validity.table(records)) == 2
    section = filter_section(records)
    assert section is not None and any("a defender takes a" in s for s in section["sentences"])
