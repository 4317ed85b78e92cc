"""Rules on copies that carry several kinds of trigger: the worst kind counts, or their mean."""

import dataclasses
from collections.abc import Mapping

import pytest
from synthetic import tuned, victim

from results.selection.configurations import configurations
from results.selection.rules import DEFAULT_RULE, kinds_of, pick, seen_by
from results.selection.winners import winners
from trials.spec import MethodConfig, Point, Record

# CDA, patch, warp. Of three patches and a warp, step 100 has the lowest mean over copies, step 50
# the lowest worst kind, step 150 the lowest mean of the kinds; step 200 is too dear
ASRS = {
    0: (0.95, 1.0, 1.0),
    50: (0.94, 0.45, 0.45),
    100: (0.94, 0.05, 0.9),
    150: (0.94, 0.3, 0.5),
    200: (0.90, 0.0, 0.0),
}


def of_kinds(
    curve: Mapping[int, tuple[float, float, float]], game: str = "tuning", **kwargs: object
) -> Record:
    """A record whose points have the ASR of patch (of three copies) and of warp (of one)."""
    plain = tuned([(s, cda, (3 * p + w) / 4) for s, (cda, p, w) in curve.items()], game, **kwargs)
    kinds = [{"asr/patch": p, "asr/warp": w} for _, p, w in curve.values()]
    points = [
        dataclasses.replace(p, extra=extra) for p, extra in zip(plain.curve, kinds, strict=True)
    ]
    return dataclasses.replace(plain, curve=tuple(points))


def chosen(record: Record, rule: str) -> tuple[int, float]:
    found = pick(record, rule)
    assert found is not None
    return found.point.step, found.point.asr


@pytest.mark.parametrize("game", ["tuning", "confirmation"])
@pytest.mark.parametrize(
    ("rule", "step", "asr"),
    [
        ("worst_kind_within_delta", 50, 0.45),
        ("mean_within_delta", 150, 0.4),
        ("min_asr_within_delta", 100, 0.2625),
        ("last", 200, 0.0),
    ],
)
def test_each_rule_reads_the_kinds_as_it_says(game: str, rule: str, step: int, asr: float) -> None:
    assert chosen(of_kinds(ASRS, game), rule) == pytest.approx((step, asr))


def test_the_worst_kind_is_the_default() -> None:
    assert DEFAULT_RULE == "worst_kind_within_delta"
    found = pick(of_kinds(ASRS))
    assert found is not None and found.rule == DEFAULT_RULE and found.point.step == 50


@pytest.mark.parametrize("rule", ["worst_kind_within_delta", "mean_within_delta"])
def test_of_one_kind_the_mean_over_the_copies_counts(rule: str) -> None:
    record = tuned([(0, 0.95, 1.0), (50, 0.94, 0.3), (100, 0.94, 0.4)])
    assert chosen(record, rule) == chosen(record, "min_asr_within_delta") == (50, 0.3)
    assert seen_by(rule, record.curve, "tuning") == record.curve
    one = dataclasses.replace(record.curve[1], extra={"asr/patch": 0.3, "asr_0": 0.1})
    assert seen_by(rule, [one], "tuning") == (one,)


@pytest.mark.parametrize("rule", ["worst_kind_within_delta", "mean_within_delta"])
def test_several_attacks_on_one_real_victim_keep_their_own_asr(rule: str) -> None:
    """There ``asr`` is what ``asr_of`` makes of them."""
    record = of_kinds(ASRS, "robustness")
    assert seen_by(rule, record.curve, "robustness") == record.curve
    assert chosen(record, rule) == pytest.approx((100, 0.2625))


def test_the_kinds_of_a_point_are_named_without_what_else_it_holds() -> None:
    extra = {"asr/patch": 0.1, "asr/warp": 0.2, "asr_0": 0.3, "val_cda": 0.9, "cda_copies": 0.8}
    assert kinds_of(Point(0, 0.9, 0.5, extra=extra)) == {"patch": 0.1, "warp": 0.2}


def test_the_worst_of_the_means_over_seeds_wins_and_not_the_mean_of_the_worst() -> None:
    """A seed's worst kind may be another's best."""
    turned = [
        of_kinds({0: (0.95, 1.0, 1.0), 50: (0.94, p, w)}, seed=seed)
        for seed, (p, w) in enumerate([(0.6, 0.0), (0.0, 0.6)])
    ]
    steady = [
        of_kinds({0: (0.95, 1.0, 1.0), 50: (0.94, 0.4, 0.4)}, params={"lr": 0.1}, seed=seed)
        for seed in (0, 1)
    ]
    won, lost = (winners(records)[0] for records in (turned + steady, steady))
    assert (won.eta, lost.eta) == pytest.approx((0.3, 0.4))
    assert won.kinds == pytest.approx({"patch": 0.3, "warp": 0.3})
    assert lost.kinds == pytest.approx({"patch": 0.4, "warp": 0.4})


def test_a_winner_says_what_is_left_of_each_kind_at_its_step() -> None:
    (won,) = winners([of_kinds(ASRS)])
    assert (won.step, won.rule, dict(won.kinds)) == (
        50,
        DEFAULT_RULE,
        {"patch": 0.45, "warp": 0.45},
    )
    (mean,) = winners([of_kinds(ASRS)], "mean_within_delta")
    assert (mean.step, dict(mean.kinds)) == (150, {"patch": 0.3, "warp": 0.5})
    (plain,) = winners([tuned([(0, 0.95, 1.0), (50, 0.94, 0.3)])])
    assert plain.kinds == {}


def test_attacks_of_a_real_victim_are_no_kinds() -> None:
    both = dataclasses.replace(victim(), attacks=(MethodConfig("patch"), MethodConfig("warp")))
    (c,) = configurations([of_kinds(ASRS, "robustness", of=both)], game="robustness")
    assert c.point is not None and c.point.step == 100
    assert c.kinds == {}
