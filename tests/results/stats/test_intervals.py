"""Intervals: they hold the rate, narrow with n, widen with the level, refuse what is no number."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from results.stats.intervals import bootstrap, clustered, mean_sd, paired, wilson

RATES, COUNTS = st.floats(0, 1), st.integers(1, 10_000)


@given(RATES, COUNTS)
def test_wilson_holds_the_rate_and_stays_a_fraction(rate: float, n: int) -> None:
    low, high = wilson(rate, n)
    assert 0 <= low <= rate <= high <= 1
    assert high > low


@given(RATES, COUNTS)
def test_wilson_narrows_with_images_and_widens_with_the_level(rate: float, n: int) -> None:
    def width(n: int, level: float) -> float:
        low, high = wilson(rate, n, level)
        return high - low

    assert width(4 * n, 0.95) < width(n, 0.95) < width(n, 0.99)


@given(RATES, COUNTS)
def test_wilson_of_the_misses_is_the_mirror(rate: float, n: int) -> None:
    low, high = wilson(rate, n)
    assert wilson(1 - rate, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(st.integers(0, 90), st.integers(90, 500))
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    theirs = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(
    ("rate", "n"), [(math.nan, 10), (1.1, 10), (-0.1, 10), (0.5, 0), (0.5, math.inf)]
)
def test_wilson_refuses_what_is_no_rate(rate: float, n: float) -> None:
    with pytest.raises(ValueError, match="a rate"):
        wilson(rate, n)


def test_a_single_value_has_no_spread() -> None:
    assert mean_sd([0.3]) == (0.3, None)
    assert mean_sd([0.1, 0.3]) == pytest.approx((0.2, math.sqrt(0.02)))


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_spread_and_bootstrap_refuse_nothing_and_nan(values: list[float]) -> None:
    for function in (mean_sd, bootstrap):
        with pytest.raises(ValueError, match="no values|not finite"):
            function(values)


def test_bootstrap_holds_the_mean_repeats_itself_and_moves_with_the_values() -> None:
    values = [0.1, 0.2, 0.25, 0.4, 0.15]
    low, high = bootstrap(values)
    assert min(values) <= low < sum(values) / 5 < high <= max(values)
    assert bootstrap(values) == (low, high)
    assert bootstrap([v + 0.5 for v in values]) == pytest.approx((low + 0.5, high + 0.5))
    assert bootstrap([0.2]) == (0.2, 0.2)


def test_what_a_repair_costs_is_surer_than_two_accuracies_apart() -> None:
    changes = [1.0] * 20 + [-1.0] * 10 + [0.0] * 470  # 30 of 500 images change
    low, high = paired(changes)
    assert low < 0.02 < high
    apart = wilson(450 / 500, 500), wilson(440 / 500, 500)
    assert high - low < apart[0].high - apart[1].low
    # by hand: one image more in each direction's half, of 502
    mean, variance = 10 / 502, 31 / 502 - (10 / 502) ** 2
    assert (low + high) / 2 == pytest.approx(mean)
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt(variance / 502), rel=1e-5)
    halved = paired([0.5] * 40 + [-0.5] * 20 + [0.0] * 440)  # the same cost, seen in two ways
    assert halved.high - halved.low < high - low


@pytest.mark.parametrize(("lost", "gained"), [(0.04, 0.02), (0.1, 0.06), (0.03, 0.0)])
def test_the_interval_of_a_cost_holds_it_19_times_of_20(lost: float, gained: float) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        up, down, _ = rng.multinomial(200, [lost, gained, 1 - lost - gained])
        low, high = paired([1.0] * up + [-1.0] * down + [0.0] * (200 - up - down))
        held += low <= lost - gained <= high
    assert held >= 930


def test_no_change_of_any_image_is_no_certainty() -> None:
    low, high = paired([0.0] * 100)
    assert low < 0 < high and paired([1.0] * 5).high == 1
    for wrong in ([], [1.5], [math.nan]):
        with pytest.raises(ValueError, match=r"no values|\[-1, 1\]|not finite"):
            paired(wrong)


def test_a_clustered_rate_is_as_sure_as_its_clusters_are_independent() -> None:
    alike = [[1.0] * 5] * 12 + [[0.0] * 5] * 8  # 20 clusters of five that are always the same
    found, of_clusters, of_all = clustered(alike), wilson(0.6, 20), wilson(0.6, 100)
    assert found.low == pytest.approx(of_clusters.low, abs=0.01)
    assert found.high == pytest.approx(of_clusters.high, abs=0.01)
    rng = np.random.default_rng(0)
    drawn = [list(map(float, rng.random(5) < 0.6)) for _ in range(400)]
    rate = float(np.mean(drawn))
    free, wide = clustered(drawn), wilson(rate, 400)
    assert free.high - free.low < 0.6 * (wide.high - wide.low)
    single = [[value[0]] for value in alike]
    assert clustered(single) == wilson(0.6, 20)
    assert of_all.low > found.low


def test_a_clustered_rate_without_spread_counts_each_cluster_once() -> None:
    assert clustered([[0.0] * 9] * 4) == wilson(0.0, 4)
    assert clustered([[1.0, 1.0], [1.0]]) == wilson(1.0, 2)
    assert clustered([[0.0, 1.0]]) == wilson(0.5, 1)


def test_a_model_that_is_measured_in_all_clusters_counts_as_one() -> None:
    models = [[0, 1, 2, 3]] * 30
    odd = [[1.0, 0.0, 0.0, 0.0]] * 30  # one of four models fails everywhere
    alone, together = clustered(odd), clustered(odd, models)
    assert alone == wilson(0.25, 30)
    assert together == wilson(0.25, 4)
    drawn = np.random.default_rng(1).random((30, 4)) < 0.25  # models that are alike
    some = [list(map(float, row)) for row in drawn]
    free, crossed = clustered(some), clustered(some, models)
    assert crossed.high - crossed.low <= 1.5 * (free.high - free.low)
    assert clustered(odd, [[0, 0, 0, 0]] * 30) == alone  # of one model no spread is known


def test_a_clustered_rate_is_the_same_each_time_and_needs_clusters() -> None:
    some = [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    assert clustered(some) == clustered(some)
    for wrong in ([], [[1.0], []]):
        with pytest.raises(ValueError, match="at least one cluster"):
            clustered(wrong)
