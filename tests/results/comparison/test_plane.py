"""The plane: points by hand, fronts against a slow twin, paired resamples, and who wins."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import plane_records
import pytest
from plane_records import detected, repaired, victim

from results.comparison import attack_front
from results.comparison.attack_front import band, front, volume
from results.comparison.defense_ranking import rankings, sentence
from results.comparison.matched_attacks import at_equal_asr, at_equal_m
from results.comparison.plane import Plane, planes
from results.comparison.residual_asr import residual_asrs
from results.figures._attacks import staircase
from results.selection.grouping import channel
from results.stats import pareto
from trials.spec import Record, SpecError

CLEAN = 10  # clean models, with scores 0 to 9


def clean(*detectors: str) -> list[Record]:
    return [
        detected(victim(seed=s), float(s), d)
        for d in detectors or ("neural_cleanse",)
        for s in range(CLEAN)
    ]


def attack(
    name: str,
    eta: float,
    rho: float,
    m: int = 500,
    asr0: float = 1.0,
    seeds: int = 3,
    defense: str = "weight_decay",
    detector: str = "neural_cleanse",
) -> list[Record]:
    """Victims with exactly this η and, for a ρ in tenths, exactly this ρ."""
    return [
        r
        for s in range(seeds)
        for r in (
            repaired(victim(name, m, s), [(0, 0.94, asr0), (500, 0.93, eta)], defense),
            detected(victim(name, m, s), CLEAN * rho - 0.5, detector),
        )
    ]


def plane(*records: Iterable[Record]) -> Plane:
    (one,) = planes(
        [*clean(), *(r for some in records for r in some)],
        channels=plane_records.CHANNELS,
        draws=200,
    )
    return one


FOUR = [
    attack("badnets", 0.1, 0.9),
    attack("adv", 0.6, 0.8),
    attack("a_blend", 0.3, 0.6),
    attack("wanet", 0.2, 0.7),
]


def test_a_point_is_the_mean_over_victims_and_the_area_over_models() -> None:
    (mark,) = plane(attack("badnets", 0.4, 0.7)[:4], attack("badnets", 0.1, 0.7)[4:]).marks
    assert mark.eta == pytest.approx((0.4 + 0.4 + 0.1) / 3)
    assert mark.rho == pytest.approx(0.7)
    assert (mark.asr0, mark.m, mark.channel, mark.found.few) == (1.0, 500, "data", True)
    assert mark.eta_interval is not None
    assert mark.eta_interval == pytest.approx((0.1, 0.4))


def test_the_front_is_high_eta_and_low_rho() -> None:
    p = plane(*FOUR)
    assert [m.name for m in front(p.marks)] == ["a_blend (m = 500)", "adv (m = 500)"]
    pairs = [(m, o) for m in p.marks for o in p.marks if o is not m]
    beaten = {m.name for m, o in pairs if o.eta >= m.eta and o.rho <= m.rho}
    assert beaten == {m.name for m in p.marks} - {m.name for m in front(p.marks)}


def test_the_hypervolume_is_the_area_between_the_front_and_nothing() -> None:
    assert volume(plane(attack("badnets", 0.4, 0.7)).marks).value == pytest.approx(0.4 * 0.3)
    both = volume(plane(attack("badnets", 0.4, 0.7), attack("adv", 0.5, 0.9)).marks)
    assert both.value == pytest.approx(0.4 * 0.3 + 0.1 * 0.1)
    assert volume(plane(*FOUR).marks).value == pytest.approx(0.3 * 0.2 + 0.6 * 0.2)


def test_a_rho_below_chance_stays_as_it_is_but_earns_no_more_than_chance() -> None:
    p = plane(attack("badnets", 0.4, 0.2))
    assert p.marks[0].rho == pytest.approx(0.2)
    assert volume(p.marks).value == pytest.approx(0.4 * 0.5)
    assert volume(plane(attack("badnets", 1.0, 0.0)).marks).value == pytest.approx(0.5)


def test_resampled_hypervolumes_are_those_of_the_fronts() -> None:
    rng = np.random.default_rng(0)
    rhos, etas = rng.random((50, 6)).round(1), rng.random((50, 6)).round(1)
    fast = attack_front._volumes(rhos, etas)
    for r, e, area in zip(rhos, etas, fast, strict=True):
        points = np.column_stack([np.maximum(0.5, r), e])
        assert area == pytest.approx(pareto.hypervolume(points, (1.0, 0.0)))


def test_another_attack_never_lowers_the_hypervolume_and_a_better_defense_never_raises_it() -> None:
    base = volume(plane(*FOUR).marks)
    extra = volume(plane(*FOUR, attack("refool", 0.5, 0.5)).marks)
    assert extra.value > base.value
    assert (extra.draws >= base.draws - 1e-12).all()  # in every resample, as they are the same
    weaker = [
        attack(n, e / 2, r)
        for n, e, r in (("badnets", 0.1, 0.9), ("adv", 0.6, 0.8), ("a_blend", 0.3, 0.6))
    ]
    assert volume(plane(*weaker).marks).value < base.value


def test_code_poisoning_has_a_front_of_its_own() -> None:
    p = plane(*FOUR, attack("pcb", 0.9, 0.5))
    assert [m.name for m in front(p.of("code"))] == ["pcb (m = 500)"]
    assert "pcb (m = 500)" not in {m.name for m in p.of("data")}
    assert [m.name for m in front(p.of(None))] == ["pcb (m = 500)"]
    assert channel(victim("badnets")) == "data"
    assert channel(victim("nobody_knows")) == "unknown"
    assert channel(victim("badnets"), {"badnets": "code"}) == "code"


def test_bands_surround_the_front_and_the_better_share_dominates() -> None:
    p = planes(
        plane_records.sweep(seeds=12, defenses=("weight_decay",), detectors=("neural_cleanse",)),
        draws=300,
    )[0]
    surfaces = band(p.marks, (0.025, 0.5, 0.975))
    areas = [pareto.hypervolume(surfaces[s], (1.0, 0.0)) for s in (0.025, 0.5, 0.975)]
    assert areas[0] > areas[1] > areas[2]
    assert areas[2] < pareto.hypervolume([(m.rho, m.eta) for m in p.marks], (1.0, 0.0)) < areas[0]
    v = volume(p.marks)
    assert v.interval and v.interval.low < v.value < v.interval.high


def test_a_staircase_encloses_the_hypervolume() -> None:
    edge = pareto.front([(0.6, 0.3), (0.8, 0.6), (0.9, 0.5)])
    x, y = staircase(edge).T
    assert np.trapezoid(1 - y, x) == pytest.approx(pareto.hypervolume(edge, (1.0, 0.0)))
    assert (y[0], x[0], y[-1], x[-1]) == (0.6, 0.0, 1.0, 0.6)


def test_the_weaker_attackers_mark_the_better_pair() -> None:
    records = plane_records.sweep(seeds=16, seed=2)
    (ranked,) = rankings(planes(records, channels=plane_records.CHANNELS, draws=400), "data")
    assert len(ranked) == 6
    assert {d.plane.defense for d in ranked[:2]} == {"pivotal_tuning"}
    assert {d.plane.defense for d in ranked[-2:]} <= {"none", "weight_decay"}
    assert sum(d.lowest or 0 for d in ranked) == pytest.approx(1)
    assert sum(d.lowest or 0 for d in ranked[:2]) > 0.99
    assert all(d.attacks == 15 and not d.left_out for d in ranked)
    said = sentence(ranked)
    assert said.startswith(
        f"At r = 1.0 %, pivotal_tuning with {ranked[0].plane.detector} leaves attackers the least"
    )
    assert said.endswith(".")
    assert said.count(". ") == 0
    assert ("do not tell it apart" in said) == (
        (ranked[0].lowest or 0) < 0.95 and (ranked[1].lowest or 0) > 0.025
    )


def test_pairs_that_score_alike_share_the_resamples() -> None:
    both = [r for d in ("neural_cleanse", "other") for r in attack("badnets", 0.4, 0.7, detector=d)]
    (ranked,) = rankings(planes([*clean("neural_cleanse", "other"), *both], draws=100))
    assert [d.lowest for d in ranked] == [0.5, 0.5]
    assert (ranked[0].volume.draws == ranked[1].volume.draws).all()


def test_pairs_are_compared_on_the_attacks_that_all_have_met() -> None:
    lazy = attack("badnets", 0.05, 0.9, defense="nad")  # met one attack only, the easy one
    records = [
        *clean(),
        *(r for some in FOUR for r in some),
        *(r for r in lazy if r.trial.game.name == "robustness"),
    ]
    (ranked,) = rankings(planes(records, draws=50))
    assert [d.plane.defense for d in ranked] == ["weight_decay"]
    assert ranked[0].left_out == ("nad with neural_cleanse",)
    assert "no other pair" in sentence(ranked)


def test_a_defense_that_ruins_the_model_is_no_recommendation() -> None:
    ruined = [
        replace(r, curve=tuple(replace(p, cda=0.1) if p.step else p for p in r.curve))
        for r in attack("badnets", 0.0, 0.7, defense="nad")
    ]
    kept = attack("badnets", 0.4, 0.7)
    (ranked,) = rankings(planes([*clean(), *ruined, *kept], draws=50))
    assert [(d.plane.defense, d.affordable) for d in ranked] == [
        ("weight_decay", True),
        ("nad", False),
    ]
    assert ranked[0].volume.value > ranked[1].volume.value == 0
    assert [ranked[0].cost, ranked[1].cost] == pytest.approx([0.01, 0.84])
    assert (ranked[0].lowest, ranked[1].lowest) == (1, None)
    assert "the only pair within Δ (1 other pair costs more than Δ)" in sentence(ranked)
    (alone,) = rankings(planes([*clean(), *ruined], draws=50))
    assert "at a mean cost of 84.0 points of clean accuracy, more than the 2.0 allowed" in sentence(
        alone
    )


def test_a_single_victim_gives_no_certainty() -> None:
    pairs = [
        r
        for e, d in ((0.4, "weight_decay"), (0.1, "nad"))
        for r in attack("badnets", e, 0.7, seeds=1, defense=d)
    ]
    (ranked,) = rankings(planes([*clean(), *pairs], draws=50))
    assert [d.plane.defense for d in ranked] == ["nad", "weight_decay"]
    assert all(d.volume.interval is None and d.lowest is None for d in ranked)
    said = sentence(ranked)
    assert "says nothing of how far pairs can be told apart" in said
    assert "resamples" not in said and "interval" not in said


def test_refused_measurements_are_counted_beside_the_plane() -> None:
    broken = [
        replace(r, metrics={"score": math.nan}) if r.trial.game.name == "detectability" else r
        for r in attack("adv", 0.2, 0.8)
    ]
    p = plane(attack("badnets", 0.4, 0.7), broken)
    assert [m.name for m in p.marks] == ["badnets (m = 500)"]
    (said,) = p.refusals
    assert said == (
        "adv (m = 500): not in the plane, as no detector's score was measured, "
        "3 measurements refused, not finite or incomplete"
    )


def test_attacks_measured_on_one_axis_only_are_named() -> None:
    alone = [r for r in attack("adv", 0.2, 0.8) if r.trial.game.name == "robustness"]
    p = plane(attack("badnets", 0.4, 0.7), alone)
    assert [m.name for m in p.marks] == ["badnets (m = 500)"]
    assert p.refusals == ("adv (m = 500): not in the plane, as no detector's score was measured",)
    assert planes(alone) == []
    assert planes([]) == []


def test_order_and_repetition_of_records_change_nothing() -> None:
    records = [*clean(), *(r for some in FOUR for r in some)]
    one, other = planes(records, draws=50)[0], planes([*records, *records][::-1], draws=50)[0]
    assert [(m.name, m.eta, m.rho) for m in one.marks] == [
        (m.name, m.eta, m.rho) for m in other.marks
    ]
    assert (volume(one.marks).draws == volume(other.marks).draws).all()


def test_settings_tuned_for_each_victim_are_one_defense_and_a_grid_is_not() -> None:
    tuned = [
        repaired(
            victim("badnets", 50, s),
            [(0, 0.94, 1.0), (100 + s, 0.93, 0.1)],
            lr=0.1 * s,
            stop_at=100 + s,
        )
        for s in range(1, 4)
    ]
    (one,) = residual_asrs(tuned)
    assert (len(one.eta), one.rule) == (3, "frozen")
    again = repaired(
        victim("badnets", 50, 1), [(0, 0.94, 1.0), (900, 0.93, 0.5)], lr=9.0, stop_at=900
    )
    assert len(residual_asrs([*tuned, again])) == 4
    whole = [
        replace(
            r,
            trial=replace(
                r.trial, game=replace(r.trial.game, params={"delta": 0.02, "stop_at": 0})
            ),
        )
        for r in tuned
    ]
    assert [len(x.eta) for x in residual_asrs(whole)] == [1, 1, 1]
    scored = detected(victim("badnets", 50, 1), 5.0, "neural_cleanse")
    named = {p.defense for p in planes([*clean(), scored, *tuned[:1], again], draws=10)}
    assert named == {"weight_decay (lr = 0.1)", "weight_decay (lr = 9)"}


def test_frozen_and_whole_runs_are_never_mixed() -> None:
    curve = [(0, 0.94, 1.0), (50, 0.93, 0.4), (100, 0.80, 0.0)]
    frozen = repaired(victim("badnets", 50), [(0, 0.94, 1.0), (50, 0.93, 0.3)], stop_at=50)
    whole = repaired(victim("badnets", 50), curve, stop_at=0)
    idle = repaired(victim("badnets", 50), curve[:1], "none", stop_at=0)

    def eta(rule: str | None, *records: Record) -> dict[str, float]:
        return {x.defense.name: next(iter(x.eta.values())) for x in residual_asrs(records, rule)}

    assert eta(None, frozen, whole, idle) == {"none": 1.0, "weight_decay": 0.3}
    assert eta(None, whole, idle) == {"none": 1.0, "weight_decay": 0.4}
    assert eta("last", frozen, whole) == {"weight_decay": 0.0}
    assert eta("oracle", frozen, whole) == {"weight_decay": 0.4}
    with pytest.raises(SpecError, match="unknown rule"):
        residual_asrs([whole], "best")


def test_what_is_not_finite_or_stopped_too_early_is_refused_and_counted() -> None:
    good = repaired(victim("badnets", 50, 0), [(0, 0.94, 1.0), (500, 0.93, 0.2)])
    nan = repaired(victim("badnets", 50, 1), [(0, 0.94, 1.0), (500, 0.93, math.nan)])
    early = repaired(victim("badnets", 50, 2), [(0, 0.94, 1.0), (250, 0.93, 0.0)])
    failed = replace(
        repaired(victim("badnets", 50, 3), [(0, 0.9, 1.0)]), status="failed", curve=(), metrics={}
    )
    (x,) = residual_asrs([good, nan, early, failed])
    assert list(x.eta.values()) == [0.2]
    assert (x.refused, x.failed) == (2, 1)


def test_equal_budgets_are_compared_with_an_interval_over_the_same_clean_models() -> None:
    p = plane(
        attack("badnets", 0.1, 0.9, m=50),
        attack("adv", 0.6, 0.8, m=50),
        attack("adv", 0.7, 0.8, m=500),
    )
    (match,) = at_equal_m(p)
    assert (match.first.name, match.second.name) == ("adv (m = 50)", "badnets (m = 50)")
    assert match.eta.value == pytest.approx(0.5)
    assert match.rho.value == pytest.approx(-0.1)
    assert match.eta.interval is None  # all victims alike
    assert match.rho.interval is not None
    assert match.rho.interval.low < -0.1 < match.rho.interval.high


def test_equal_asr_pairs_each_budget_with_the_nearest_and_none_twice() -> None:
    p = plane(
        attack("adv", 0.1, 0.9, m=50, asr0=0.50),
        attack("adv", 0.2, 0.9, m=500, asr0=0.90),
        attack("badnets", 0.1, 0.9, m=5, asr0=0.52),
        attack("badnets", 0.1, 0.9, m=50, asr0=0.93),
        attack("badnets", 0.1, 0.9, m=500, asr0=1.0),
    )
    found = {(x.first.name, x.second.name): round(x.gap, 2) for x in at_equal_asr(p)}
    assert found == {
        ("adv (m = 50)", "badnets (m = 5)"): -0.02,
        ("adv (m = 500)", "badnets (m = 50)"): -0.03,
    }
    assert at_equal_asr(p, 0.01) == []
    assert len(at_equal_asr(p, 0.6)) == 2


def test_attacks_equally_successful_are_paired_by_the_ratio_of_budgets() -> None:
    p = plane(*(attack(n, 0.1, 0.9, m=m) for n in ("adv", "badnets") for m in (50, 500)))
    assert [(x.first.m, x.second.m) for x in at_equal_asr(p)] == [(50, 50), (500, 500)]
