"""What a page says where copies carried several kinds of trigger, and where they carried one."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
from pages import Page
from pandas import read_csv
from synthetic import of_kinds, tuned

from benchmarks.prediction import keep
from results.comparison.prediction import Pair
from results.report import verdicts
from results.report.own_accuracy import Own, cost_of, images_of
from results.report.page import render
from results.report.recommendation import Answer, answer
from results.report.verdicts import Applied
from results.selection import forecast, trigger_kinds
from results.selection.forecast import Known
from results.selection.winners import winners
from results.stats.intervals import paired
from trials.spec import MethodConfig, Record

CURVE = [(0, 0.95, 1.0), (50, 0.94, 0.0)]


def told(record: Record, rule: str = "worst_kind_within_delta") -> Answer:
    found = answer("", winners([record], rule), [record])
    assert found is not None
    return found


def chosen(defense: str = "nad", **left: float) -> Record:
    return of_kinds(tuned(CURVE, "tuning", defense, {"lr": 0.1}), **left)


def test_two_kinds_that_agree_are_a_repair() -> None:
    found = told(chosen(patch=0.0, warp=0.04))
    assert (found.verdict, found.headline) == ("repaired", "Use nad and stop at step 50.")


@pytest.mark.parametrize(
    "rule", ["worst_kind_within_delta", "mean_within_delta", "min_asr_within_delta"]
)
def test_the_worst_kind_decides_whatever_the_rule_takes(rule: str) -> None:
    found = told(chosen(patch=0.0, adaptive=0.0, warp=0.06), rule)
    assert found.verdict == "not repaired" and "leaves an ASR of 6.0 %" in found.headline


@pytest.mark.parametrize(
    ("record", "kind", "write"),
    [
        (tuned(CURVE), "badnets", 'write attack = "mixed" under [self_poisoning] and copies = 3'),
        (chosen(patch=0.0), "patch", "To plant several, write copies = 3 or more under [tuning]"),
    ],
)
def test_one_kind_alone_is_no_repair(record: Record, kind: str, write: str) -> None:
    found = told(record)
    assert found.verdict == "one kind alone"
    assert f"the one kind of trigger that was planted ({kind})" in found.headline
    assert write in found.headline
    page = Page(render([record], title="t")).read
    assert "Not shown to be repaired: one kind of trigger alone" in page and "✓" not in page


def test_a_kind_that_never_worked_agrees_with_nothing() -> None:
    whole = chosen(patch=0.0, warp=0.0)
    first = whole.curve[0]
    start = replace(first, extra={**first.extra, "asr/warp": 0.49})
    record = replace(whole, curve=(start, *whole.curve[1:]))
    found = told(record)
    assert found.verdict == "one kind alone" and "that worked (patch)" in found.headline
    assert any("warp had an ASR of only 49.0 % before the defense" in c for c in found.cautions)
    assert [one.before for one in found.by_kind] == [1.0, 0.49]


def own(record: Record, left: float, share: float = 0.3, metric: str = "mask_share") -> Record:
    """The record as if a trigger had been reconstructed from the given model, of which that is
    left.
    """
    points = tuple(
        replace(p, extra={**p.extra, "asr_reconstructed": left if p.step else 0.99})
        for p in record.curve
    )
    metrics = {**record.metrics, metric: share, "n_reconstructed": 100.0}
    return replace(record, curve=points, metrics=metrics)


@pytest.mark.parametrize("defense", ["neural_cleanse", "sau", "i_bau"])
def test_what_unlearns_the_triggers_that_it_finds_is_not_shown_to_repair(defense: str) -> None:
    """Planted triggers are easier to invert than real ones: of a Neural Cleanse that left 5 % on
    copies 98 % of the real attack were left.
    """
    record = chosen(defense, patch=0.0, warp=0.02)
    found = told(record)
    assert found.verdict == "inverted triggers alone"
    assert "by unlearning triggers that it inverts from the model" in found.headline
    page = Page(render([record], title="t")).read
    assert "Not shown to be repaired: inverted triggers alone" in page
    assert "✓" not in page


@pytest.mark.parametrize(("left", "verdict"), [(0.02, "repaired"), (0.9, "not the real")])
def test_but_a_real_attack_that_was_judged_tells(left: float, verdict: str) -> None:
    record = chosen("neural_cleanse", patch=0.0, warp=0.02)
    real = [(0, 0.95, 1.0), (50, 0.94, left)]
    judged = tuned(real, "robustness", "neural_cleanse", {"lr": 0.1}, game_params={"stop_at": 50})
    found = answer("", winners([record]), [record, judged])
    assert found is not None and found.verdict == verdict


@pytest.mark.parametrize(
    ("changed", "cost", "said"),
    [
        ({}, "given", "The model was trained on the trusted images too, which overstates costs"),
        ({"reserve": 0.05}, "given", "The model was not trained on the trusted images"),
        ({"training": MethodConfig("given")}, "given", "If the model was trained on the trusted"),
        ({}, "copies", ""),
    ],
)
def test_it_says_whether_costs_are_measured_on_what_was_trained_on(
    changed: dict[str, Any], cost: str, said: str
) -> None:
    record = tuned(CURVE, "tuning", "nad", {"lr": 0.1}, game_params={"cost": cost})
    victim = replace(record.trial.victim, **changed)
    found = told(replace(record, trial=replace(record.trial, victim=victim)))
    assert said in found.sentences[1] and any("trained on" in s for s in found.sentences) == bool(
        said
    )


OWN, WORST = "reconstructed_within_delta", "worst_trigger_within_delta"


def test_the_models_own_trigger_removed_is_said_and_is_no_repair_while_a_kind_is_left() -> None:
    record = own(chosen(patch=0.0, warp=0.7), 0.01)
    found = told(record, OWN)
    assert found.verdict == "own trigger alone" and found.winner.eta == 0.01
    assert "from 99.0 to 1.0 %, but leaves an ASR of 70.0 % on planted" in found.headline
    assert "On the model itself, with the trigger that was reconstructed" in found.sentences[0]
    page = Page(render([record], title="t", rule=OWN)).read
    assert "Not shown to be repaired: its own trigger alone" in page and "✓" not in page


@pytest.mark.parametrize(
    ("left", "warp", "eta", "n", "on"),
    [
        (0.01, 0.7, 0.7, 90, "On copies of the model"),
        (0.4, 0.02, 0.4, 100, "On the model itself"),
    ],
)
def test_the_worst_trigger_is_a_planted_one_or_the_models_own(
    left: float, warp: float, eta: float, n: int, on: str
) -> None:
    """And the interval is that of as many images as it was measured on."""
    found = told(own(chosen(patch=0.0, warp=warp), left), WORST)
    assert (found.winner.eta, found.winner.reconstructed) == (eta, left)
    assert found.winner.n_triggered == n and found.sentences[0].startswith(on)
    before = 99.0 if left > warp else 100.0
    assert f"from {before} % to {100 * eta:.1f} %" in found.sentences[0]
    assert {one.n_triggered for one in found.by_kind} == {90}
    assert found.verdict == ("own trigger alone" if left < warp else "not repaired")


def test_what_removes_the_models_own_trigger_alone_loses_to_what_leaves_less_of_all() -> None:
    alone = own(chosen("rnp", patch=0.9, warp=0.9), 0.02)
    both = own(chosen("overlay_soup", patch=0.2, warp=0.7), 0.11)
    by = {rule: winners([alone, both], rule)[0].defense for rule in (OWN, WORST)}
    assert by == {OWN: "rnp", WORST: "overlay_soup"}


@pytest.mark.parametrize("rule", [OWN, WORST])
def test_what_unlearns_inverted_triggers_loses_to_what_leaves_none_whole(rule: str) -> None:
    inverts = own(chosen("neural_cleanse", patch=0.0, warp=0.3), 0.0)
    fewer = own(chosen("fst", patch=0.0, warp=0.6), 0.5)
    whole = own(chosen("nad", patch=0.0, warp=1.0), 0.99)
    assert winners([inverts, fewer], rule)[0].defense == "fst"
    assert winners([inverts, whole], rule)[0].defense == "neural_cleanse"
    useless = chosen("neural_cleanse", patch=1.0, warp=1.0)
    for other in (fewer, whole, own(chosen("none", patch=1.0, warp=1.0), 0.99)):
        assert winners([useless, other], rule)[0].defense != "neural_cleanse"
    page = Page(render([inverts, fewer], title="t", rule=rule)).read
    assert "neural_cleanse leaves less of the planted triggers (30.0 %), but unlearns" in page
    assert "do not tell it apart" not in page


def test_where_a_kind_is_left_whole_the_models_own_trigger_chooses() -> None:
    """Else the choice would be to do nothing, and noise would choose among settings."""
    removed = own(chosen("fst", patch=0.0, warp=1.0), 0.01)
    other = own(chosen("nad", patch=0.0, warp=0.98), 0.6)
    (first, second) = winners([other, removed], WORST)
    assert (first.defense, first.step, first.eta) == ("fst", 50, 1.0)
    assert (second.defense, second.step, second.eta) == ("nad", 50, 0.98)
    assert told(removed, WORST).verdict == "own trigger alone"
    assert not verdicts.left_alone(first, first)
    whole = own(chosen("nad", patch=1.0, warp=1.0), 0.99)
    assert winners([whole], WORST)[0].step == 0


def test_a_trigger_that_does_not_count_decides_nothing_where_a_kind_is_left_whole() -> None:
    """Else a setting that cannot be told from doing nothing would win by a class that no one
    attacked.
    """
    less = own(chosen("fst", patch=0.0, warp=0.96), 0.9, share=0.8)
    other = own(chosen("nad", patch=0.0, warp=0.99), 0.0, share=0.8)
    ranked = winners([other, less], WORST)
    assert [(w.defense, w.eta) for w in ranked] == [("fst", 0.96), ("nad", 0.99)]
    curve = [(0, 0.95, 1.0), (50, 0.94, 0.0), (100, 0.93, 0.0)]
    record = of_kinds(tuned(curve, "tuning", "nad", {"lr": 0.1}), patch=0.0, warp=0.97)
    best, worse = 0.96, 0.98
    points = [
        replace(p, extra={**p.extra, "asr/warp": asr, "asr_reconstructed": left})
        for p, asr, left in zip(record.curve, (1.0, best, worse), (0.9, 0.8, 0.0), strict=True)
    ]
    (winner,) = winners([replace(record, curve=tuple(points))], WORST)
    assert (winner.step, winner.eta) == (50, best)


@pytest.mark.parametrize("rule", [OWN, WORST])
def test_of_one_named_attack_the_planted_trigger_is_told_beside_the_models_own(rule: str) -> None:
    record = own(tuned(CURVE, "tuning", "nad", {"lr": 0.1}), 0.4)
    poisoned = MethodConfig("self_poison", {"attack": "badnets", "scheme": "late"})
    trial = replace(record.trial, self_poisoning=poisoned)
    found = told(replace(record, trial=trial), rule)
    (planted,) = trigger_kinds.by_kind(found.winner, found.winner)
    assert found.winner.eta == 0.4 and (planted.asr, planted.n_triggered) == (0.0, 90)
    assert "an ASR of 40.0 % to the trigger that was reconstructed" in found.headline


def test_the_models_own_trigger_that_still_works_forbids_a_repair() -> None:
    found = told(own(chosen(patch=0.0, warp=0.0), 0.4), "worst_kind_within_delta")
    assert found.verdict == "not repaired"
    assert "an ASR of 40.0 % to the trigger that was reconstructed" in found.headline
    assert told(own(chosen(patch=0.0, warp=0.0), 0.04)).verdict == "repaired"


@pytest.mark.parametrize(
    ("defense", "share"), [("nad", 0.51), ("neural_cleanse", 0.3), ("sau", 0.3)]
)
def test_a_trigger_that_is_not_suspect_or_was_unlearned_counts_for_nothing(
    defense: str, share: float
) -> None:
    found = told(own(chosen(defense, patch=0.0, warp=0.3), 0.0, share), OWN)
    assert found.verdict == "not repaired" and found.winner.eta == 0.3
    assert found.winner.reconstructed is None


def test_a_cost_beyond_delta_on_the_given_model_is_no_repair() -> None:
    curve = [(0, 0.95, 1.0), (50, 0.90, 0.0)]
    dear = tuned(curve, "tuning", "nad", {"lr": 0.1}, game_params={"cost": "given"})
    cheap = of_kinds(dear, patch=0.0, warp=0.0)
    found = answer("", winners([cheap], "last"), [cheap])
    assert found and found.verdict == "too costly"
    assert "within Δ" in found.headline and "costs 5.0 points" in found.headline
    assert "costs the model itself, repaired on its fit images, 5.0 points" in found.sentences[0]


def test_the_page_has_what_is_left_of_each_kind_with_its_interval() -> None:
    record = chosen(patch=0.0, warp=0.04)
    rows = {one.kind: one for one in told(record).by_kind}
    assert list(rows) == ["warp", "patch"]
    for end in rows["warp"].interval or ():  # Wilson's equation at both ends, n = 90
        assert (end - 0.04) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / 90, rel=1e-3)
    page = Page(render([record], title="t")).read
    assert "ASR left by kind of trigger" in page and "warp4.01.5 – 10.3" in page
    assert "ASR left by kind of trigger" not in Page(render([tuned(CURVE)], title="t")).read


def test_a_confirmed_number_of_a_kind_goes_before_the_chosen_one() -> None:
    held = tuned(CURVE, "confirmation", "nad", {"lr": 0.1})
    held = of_kinds(held, patch=0.0, warp=0.2)
    found = answer("", winners([chosen(patch=0.0, warp=0.0)]), [chosen(patch=0.0, warp=0.0), held])
    assert found and found.verdict == "not repaired"
    assert [(one.kind, one.asr) for one in found.by_kind] == [("warp", 0.2), ("patch", 0.0)]


@pytest.mark.parametrize(("asr", "shallow"), [(0.51, True), (0.5, False), (None, False)])
def test_a_repair_that_five_stamped_images_undo_is_called_shallow(
    asr: float | None, shallow: bool
) -> None:
    held = of_kinds(tuned(CURVE, "confirmation", "nad", {"lr": 0.1}), patch=0.0, warp=0.0)
    probed = {} if asr is None else {"retuned_asr": asr, "path_share": 7 / 11}
    held = replace(held, metrics={**held.metrics, **probed})
    page = Page(render([chosen(patch=0.0, warp=0.0), held], title="t")).read
    said = "the copies have an ASR of 51.0 % again. On 64 % of the line"
    assert (said in page) == ("The repair is shallow" in page) == shallow


@pytest.mark.parametrize(("defense", "warned"), [("neural_cleanse", True), ("nad", False)])
def test_a_winner_that_inverts_triggers_carries_its_warning(defense: str, warned: bool) -> None:
    page = Page(render([chosen(defense, patch=0.0, warp=0.0)], title="t")).read
    assert ("copies understate what is left, by 20 to 80 points in our tests" in page) == warned


def test_a_model_left_alone_is_not_warned_of_an_inversion() -> None:
    idle = of_kinds(tuned(CURVE[:1], "tuning", "neural_cleanse"), patch=1.0, warp=1.0)
    assert "understate" not in Page(render([idle], title="t")).read


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Known]]:
    """Pairs in the place of those that come with the package."""
    found: list[Known] = []
    monkeypatch.setattr(
        trigger_kinds, "known", lambda scheme, _: tuple(p for p in found if p.scheme == scheme)
    )
    yield found


def of_victims(n: int, family: str = "fine_tuning", victims: int = 5) -> Sequence[Known]:
    """Pairs on some victims of which the real attack keeps 0 to 0.2 more than the copies."""
    apart = [0.2 * i / (n - 1) for i in range(n)]
    return [Known(str(i % victims), "labels", family, 0.1, 0.1 + a) for i, a in enumerate(apart)]


def test_the_forecast_is_said_with_its_pairs_and_victims(pairs: list[Known]) -> None:
    pairs += of_victims(40)
    said = "Of the real attack, 4.5 to 23.5 % is expected to be left (90 % interval from 40 pairs"
    found = told(chosen(patch=0.0, warp=0.04))
    assert any(f"{said} on 5 victims)." in s for s in found.sentences)


def test_without_enough_pairs_no_forecast_is_said(pairs: list[Known]) -> None:
    none = "How much of a real attack is left cannot be forecast: too few pairs"
    record = chosen(patch=0.0, warp=0.04)
    assert any(s.startswith(none) for s in told(record).sentences)
    pairs += of_victims(18)  # one too few for 90 % on both sides
    assert any(s.startswith(none) for s in told(record).sentences)
    pairs[:] = of_victims(40, victims=4)  # those of one victim are alike
    assert any(s.startswith(none) for s in told(record).sentences)


def test_a_choice_by_the_reconstructed_trigger_is_forecast_by_its_own_pairs(
    pairs: list[Known],
) -> None:
    record = own(chosen(patch=0.0, warp=0.7), 0.05)
    pairs += of_victims(40)  # of copies, which had no part in the choice
    none = "cannot be forecast: too few pairs of reconstructed triggers and real attacks are known."
    assert any(s.endswith(none) for s in told(record, OWN).sentences)
    by_copies = told(record).sentences
    assert any("70.5 to 89.5 % is expected" in s for s in by_copies)
    pairs += [Known(str(i % 5), forecast.OWN, "fine_tuning", 0.1, 0.15) for i in range(19)]
    said = "Of the real attack, 10.0 to 10.0 % is expected to be left (90 % interval from 19 pairs"
    assert any(f"{said} on 5 victims)." in s for s in told(record, OWN).sentences)
    assert told(record).sentences == by_copies
    one_kind = own(tuned(CURVE, "tuning", "nad", {"lr": 0.1}), 0.05)  # no copy tells of this either
    assert any(said in s for s in told(one_kind, OWN).sentences)


def test_a_file_of_enough_pairs_makes_forecasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``benchmarks.prediction --keep`` writes it: 19 pairs on 5 victims, those of others left
    out.
    """

    def rows(n: int, **changes: Any) -> list[Pair]:
        given = {f.name: 0.0 for f in fields(Pair)} | {
            **{"attack": "badnets", "scheme": "labels", "kinds": "patch+warp", "defense": "nad"},
            **{"family": "fine_tuning", "eta_copy_worst": 0.1, "eta_real": 0.15},
        }
        each = ({"victim": f"v{i % 5}", "settings": f"lr = {i}"} for i in range(n))
        return [Pair(**{**given, **one, **changes}) for one in each]

    file = tmp_path / "pairs.csv"
    others = [
        *rows(40, kinds="patch", eta_real=0.9),
        *rows(40, scheme="late", eta_real=0.9),
        *rows(40, defense="none", family="control", eta_real=0.9),
        *rows(40, scheme="reconstructed", kinds="mask", eta_real=0.9),
    ]
    monkeypatch.setattr(forecast, "load", lambda name: read_csv(file, dtype=str).to_dict("records"))
    for n, said in ((18, "cannot be forecast: too few pairs"), (19, "9.0 to 9.0 % is expected")):
        file.unlink(missing_ok=True)
        assert keep(others + rows(n), file) == 160 + n
        forecast.known.cache_clear()
        assert said in " ".join(told(chosen(patch=0.0, warp=0.04)).sentences)
    chose = {"mask_share": "85.0 to 85.0 % is expected", "odds_share": "cannot be forecast"}
    for metric, said in chose.items():  # the pairs are of masks
        by_own = told(own(chosen(patch=0.0, warp=0.7), 0.05, 0.1, metric), OWN)
        assert said in " ".join(by_own.sentences)
    forecast.known.cache_clear()


def test_one_kind_alone_has_no_forecast(pairs: list[Known]) -> None:
    pairs += of_victims(40)
    none = "cannot be forecast: no two kinds of trigger were planted."
    assert any(s.endswith(none) for s in told(tuned(CURVE)).sentences)


def test_a_family_of_inversion_is_never_judged_by_others(pairs: list[Known]) -> None:
    pairs += of_victims(40)
    said = " ".join(told(chosen("neural_cleanse", patch=0.0, warp=0.04)).sentences)
    assert "cannot be forecast: too few pairs" in said


def test_the_pairs_that_come_with_the_package_can_be_read() -> None:
    some = forecast.known("labels", frozenset({"adaptive", "patch", "warp"}))
    assert all(0 <= p.eta_copy <= 1 and 0 <= p.eta_real <= 1 for p in some)
    assert forecast.known("a scheme that nobody has", frozenset({"patch"})) == ()


def test_a_defense_of_somebody_else_belongs_to_no_family() -> None:
    strange = synthetic.of_kinds(tuned(CURVE, "tuning", "not ours"), patch=0.0, warp=0.0)
    assert told(strange).verdict == "repaired"


def applied(record: Record, before: float, after: float, n: int = 500) -> Answer:
    """What is said of a given model to which the winner was applied, at that cost."""
    (winner,) = winners([record], "worst_kind_within_delta")
    lost, kept = round(n * (before - after)), round(n * (1 - before + after))
    interval = paired([1.0] * lost + [0.0] * kept)
    own = Own(before=before, after=after, n=n, cost_interval=interval)
    done = Applied(winner=winner, own=own, passed_over=(), asked=(winner.defense,))
    found = answer("", [winner], [record], done)
    assert found is not None
    return found


def costing(cost: str, cda: float = 0.94) -> Record:
    curve = [(0, 0.95, 1.0), (50, cda, 0.0)]
    record = of_kinds(tuned(curve, "tuning", "nad", {"lr": 0.1}), patch=0.0, warp=0.01)
    game = replace(record.trial.game, params={**record.trial.game.params, "cost": cost})
    return replace(record, trial=replace(record.trial, game=game))


@pytest.mark.parametrize("cost", ["given", "copies"])
@pytest.mark.parametrize(("after", "verdict"), [(0.94, "repaired"), (0.92, "too costly")])
def test_what_the_model_that_comes_out_costs_decides(cost: str, after: float, verdict: str) -> None:
    found = applied(costing(cost), 0.95, after)
    assert found.verdict == verdict
    lost = f"{100 * (0.95 - after):.1f} points lost, 95 % interval"
    assert lost in found.headline and any(lost in " ".join(fact) for fact in found.facts)


def test_a_model_fitted_on_fewer_images_decides_nothing() -> None:
    own = Own(before=0.95, after=0.94, n=500, cost_interval=paired([1.0] * 5 + [0.0] * 495))
    (winner,) = winners([costing("given")], "worst_kind_within_delta")
    (seen,) = winners([costing("given", 0.92)], "worst_kind_within_delta", delta=0.05)
    assert verdicts.judged(winner, seen, own) == "repaired"
    assert verdicts.judged(winner, seen) == "too costly"
    of_copies = replace(winner, trial=costing("copies").trial)
    assert verdicts.judged(of_copies, seen, own) == "too costly"


@pytest.mark.parametrize(("n", "said"), [(500, True), (50_000, False)])
def test_the_page_says_where_the_images_are_too_few_to_tell(n: int, said: bool) -> None:
    cautions = applied(costing("given"), 0.95, 0.932, n).cautions
    assert any(f"{n} report images are too few to tell" in c for c in cautions) is said


def test_a_gain_is_called_one() -> None:
    own = Own(before=0.95, after=0.97, n=100, cost_interval=paired([-1.0] * 2 + [0.0] * 98))
    assert cost_of(own).startswith("2.0 points gained, 95 % interval -")
    assert images_of(replace(own, mirrored=True)) == "100 report images and their mirror images"
