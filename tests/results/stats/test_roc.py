"""ROC statistics: small cases by hand, relations that always hold, and simulations with a known
answer.
"""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.stats import delong, roc

# few values, so that ties happen
SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


def test_the_area_counts_pairs_and_ties_half() -> None:
    assert roc.auc([3, 2], [2, 1]) == (1 + 1 + 0.5 + 1) / 4
    assert roc.auc([1, 2], [3, 4]) == 0.0
    assert roc.auc([5], [1, 2, 3]) == 1.0
    assert roc.auc([7, 7], [7]) == 0.5


@given(SCORES, SCORES)
def test_negated_scores_mirror_the_area_and_swapped_sides_too(
    p: list[float], c: list[float]
) -> None:
    area = roc.auc(p, c)
    assert roc.auc([-v for v in p], [-v for v in c]) == pytest.approx(1 - area)
    assert roc.auc(c, p) == pytest.approx(1 - area)
    # only ranks count
    assert roc.auc([v**3 + 1 for v in p], [v**3 + 1 for v in c]) == pytest.approx(area)


@given(SCORES, SCORES)
def test_the_area_under_the_curve_is_the_area(p: list[float], c: list[float]) -> None:
    fpr, tpr = roc.curve(p, c).T
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    assert np.trapezoid(tpr, fpr) == pytest.approx(roc.auc(p, c))


@given(SCORES, SCORES, st.sampled_from([0.0, 0.05, 0.3, 0.7]))
def test_the_rate_at_a_false_positive_rate_is_a_point_of_the_curve(
    p: list[float], c: list[float], fpr: float
) -> None:
    allowed = [t for f, t in roc.curve(p, c) if f <= fpr + 1e-9]
    assert roc.tpr_at(p, c, fpr) == pytest.approx(max(allowed))


def test_one_false_alarm_in_twenty_is_allowed_at_five_percent_and_none_in_nineteen() -> None:
    clean = [float(i) for i in range(20)]
    assert roc.tpr_at([18.5, 17.5], clean) == 0.5
    assert roc.tpr_at([18.5, 17.5], clean[1:]) == 0.0


def test_random_scores_lie_about_a_half() -> None:
    rng = np.random.default_rng(0)
    areas = [roc.auc(rng.random(30), rng.random(30)) for _ in range(200)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)
    assert np.std(areas) == pytest.approx(roc.hanley_mcneil(0.5, 30, 30), rel=0.2)


def test_hanley_mcneil_agrees_with_the_counts_that_decide_how_many_models_are_needed() -> None:
    assert roc.hanley_mcneil(0.7, 3, 3) == pytest.approx(0.23, abs=0.01)
    assert 0.10 <= roc.hanley_mcneil(0.76, 10, 10) <= 0.13
    assert 0.07 <= roc.hanley_mcneil(0.76, 20, 20) <= 0.09
    assert 0.045 <= roc.hanley_mcneil(0.76, 50, 50) <= 0.057
    assert roc.hanley_mcneil(1.0, 10, 10) == 0.0


def test_perfect_scores_have_an_interval_with_a_width() -> None:
    low, high = roc.interval(np.arange(10) + 10.0, np.arange(10))
    assert high == pytest.approx(1.0)
    assert 0.6 < low < 0.95
    assert roc.newcombe(1.0, 40, 40).low > roc.newcombe(1.0, 10, 10).low
    mirrored = roc.newcombe(0.0, 10, 10)
    assert mirrored.high == pytest.approx(1 - low)
    assert mirrored.low == pytest.approx(0.0)


def test_a_resample_has_as_many_models_and_each_as_often() -> None:
    counts = roc.resamples(7, 5000, np.random.default_rng(3))
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.06)
    assert counts.var(axis=0) == pytest.approx(np.full(7, 6 / 7), abs=0.1)  # binomial(7, 1/7)


def test_resampling_by_counts_is_resampling_models() -> None:
    rng = np.random.default_rng(5)
    p, c = rng.normal(0.5, 1, 6).round(1), rng.normal(0, 1, 9).round(1)
    w_p, w_c = roc.resamples(6, 40, rng), roc.resamples(9, 40, rng)
    areas, rates = roc.auc_draws(roc.wins(p, c), w_p, w_c), roc.tpr_draws(p, c, w_p, w_c, 0.2)
    for i in range(40):
        again = np.repeat(p, w_p[i].astype(int)), np.repeat(c, w_c[i].astype(int))
        assert areas[i] == pytest.approx(roc.auc(*again))
        assert rates[i] == pytest.approx(roc.tpr_at(*again, 0.2))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, truth = np.random.default_rng(2), NormalDist().cdf(0.8 / math.sqrt(2))
    hits = 0
    for i in range(200):
        low, high = roc.interval(rng.normal(0.8, 1, 25), rng.normal(0, 1, 25), draws=400, seed=i)
        hits += low <= truth <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    p, c = np.random.default_rng(1).normal([[0.5], [0.0]], 1, (2, 30))
    assert roc.interval(p, c, seed=4) == roc.interval(p, c, seed=4) != roc.interval(p, c, seed=5)


def _slow_variance(p: list[float], c: list[float]) -> float:
    """DeLong's variance of one area, as its sums are printed."""
    won = [[1.0 if x > y else 0.5 if x == y else 0.0 for y in c] for x in p]
    area = sum(map(sum, won)) / (len(p) * len(c))
    rows, columns = (
        [sum(r) / len(c) for r in won],
        [sum(k) / len(p) for k in zip(*won, strict=True)],
    )
    s10 = sum((v - area) ** 2 for v in rows) / (len(p) - 1)
    s01 = sum((v - area) ** 2 for v in columns) / (len(c) - 1)
    return float(s10 / len(p) + s01 / len(c))


def test_delong_agrees_with_its_slow_twin() -> None:
    p, c = [3.0, 2.0, 2.0, 0.0], [2.0, 1.0, -1.0]
    (area,), ((variance,),) = delong.delong(p, c)
    assert area == roc.auc(p, c)
    assert variance == pytest.approx(_slow_variance(p, c))


def _two_detectors(
    rng: np.random.Generator, n: int, gap: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Correlated scores (2, n) of poisoned and clean models; the detectors differ in how far they
    part the two.
    """
    shared = rng.standard_normal((2, n))
    noise = 0.7 * shared[:, None] + 0.7 * rng.standard_normal((2, 2, n))
    return noise[0] + np.array(gap)[:, None], noise[1]


def test_delong_and_the_bootstrap_agree_on_simulated_models() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        p, c = _two_detectors(rng, 60, (1.2, 0.7))
        tested, drawn = delong.delong_difference(p, c), delong.bootstrap_difference(p, c)
        assert tested.value == pytest.approx(roc.auc(p[0], c[0]) - roc.auc(p[1], c[1]))
        assert drawn.value == pytest.approx(tested.value)
        assert tested.interval is not None
        assert drawn.interval is not None
        assert np.subtract(*drawn.interval) == pytest.approx(np.subtract(*tested.interval), rel=0.2)
        assert drawn.p == pytest.approx(tested.p, abs=0.05)


def test_delongs_spread_is_that_of_repeated_experiments() -> None:
    rng, values, said = np.random.default_rng(4), [], []
    for _ in range(300):
        p, c = _two_detectors(rng, 30, (1.0, 0.6))
        areas, spread = delong.delong(p, c)
        values.append(areas[0] - areas[1])
        said.append(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])
    assert np.sqrt(np.mean(said)) == pytest.approx(np.std(values), rel=0.12)


def test_two_equal_detectors_are_told_apart_in_five_percent_of_experiments() -> None:
    rng = np.random.default_rng(8)
    ps = [delong.delong_difference(*_two_detectors(rng, 40, (0.8, 0.8))).p for _ in range(400)]
    assert 0.02 <= np.mean([p is not None and p < 0.05 for p in ps]) <= 0.09


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    p, c = _two_detectors(np.random.default_rng(2), 40, (1.0, 0.8))
    _, spread = delong.delong(p, c)
    assert spread[0, 1] > 0
    both = delong.delong_difference(p, c).interval
    assert both is not None
    assert both.high - both.low < 2 * 1.96 * math.sqrt(spread[0, 0] + spread[1, 1])


def test_a_detector_against_itself_leaves_nothing_to_judge() -> None:
    p, c = np.arange(5) + 0.5, np.arange(5)
    for judge in (delong.delong_difference, delong.bootstrap_difference):
        assert judge([p, p], [c, c]) == (0.0, None, None)


def test_swapping_detectors_turns_the_difference_round() -> None:
    p, c = _two_detectors(np.random.default_rng(6), 25, (1.0, 0.3))
    one, other = delong.compared(p, c), delong.compared(p[::-1], c[::-1])
    for a, b in ((one.delong, other.delong), (one.bootstrap, other.bootstrap)):
        assert a.value == pytest.approx(-b.value)
        assert a.p == pytest.approx(b.p)
        assert a.interval == pytest.approx((-b.interval[1], -b.interval[0]))  # type: ignore[index]


@pytest.mark.parametrize(
    ("p", "c", "said"),
    [
        ([], [1.0], "n > 0"),
        ([1.0, math.nan], [1.0], "1 of 2 scores are not finite"),
        ([1.0], [math.inf], "not finite"),
    ],
)
def test_what_is_no_score_is_refused(p: list[float], c: list[float], said: str) -> None:
    for function in (roc.auc, roc.curve, roc.tpr_at, roc.interval):
        with pytest.raises(ValueError, match=said):
            function(p, c)


def test_a_variance_of_one_model_is_refused() -> None:
    with pytest.raises(ValueError, match="two models a side"):
        delong.delong([[1.0]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="same detectors"):
        delong.delong([[1.0, 2.0]] * 2, [[1.0, 2.0]])
    with pytest.raises(ValueError, match="false-positive rate"):
        roc.tpr_at([1.0], [1.0], 1.0)
