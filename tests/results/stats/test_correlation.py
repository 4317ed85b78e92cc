"""Rank correlations: as SciPy has them, with intervals that cover and tests of their level."""

import math

import numpy as np
import plane_records
import pytest
import scipy.stats
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from results.comparison.budget_trends import trends
from results.comparison.transfer import transfers
from results.stats.correlation import _counts, correlation, correlations
from results.tables import transfer as transfer_table
from results.tables import trends as trends_table
from trials.spec import Record

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=15)


@given(PAIRS)
def test_coefficients_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    for kind, theirs in (("spearman", scipy.stats.spearmanr), ("kendall", scipy.stats.kendalltau)):
        ours = correlation(x, y, kind, draws=5)  # type: ignore[arg-type]
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert ours[1:4] == (None, None, None)
        else:
            assert ours.value == pytest.approx(theirs(x, y).statistic)


def test_both_kinds_at_once_are_what_each_is_alone() -> None:
    x, y = np.random.default_rng(0).integers(0, 9, (2, 30))
    for strata in (None, [i % 3 for i in range(30)]):
        both = correlations(x, y, strata=strata, draws=50, seed=1)
        alone = (correlation(x, y, k, strata, 50, 1) for k in ("spearman", "kendall"))
        assert both == tuple(alone)


def test_perfect_orders_are_one_and_minus_one_and_are_no_certainty() -> None:
    for kind in ("spearman", "kendall"):
        up, down = (
            correlation(range(9), range(9), kind),
            correlation(range(9), range(9, 0, -1), kind),
        )
        assert [up.value, down.value] == pytest.approx([1, -1])
        assert up.p is not None
        assert up.p < 0.01
        assert (down.p or 0) > 0.99
        assert up.interval is None  # every resample is in perfect order too


def test_the_interval_covers_and_the_test_keeps_its_level() -> None:
    rng, hits, errors = np.random.default_rng(0), 0, 0
    # Spearman's coefficient of two normals with correlation 0.5
    truth = 6 / math.pi * math.asin(0.25)
    for i in range(150):
        x = rng.standard_normal(60)
        y = 0.5 * x + math.sqrt(0.75) * rng.standard_normal(60)
        low, high = correlation(x, y, draws=300, seed=i).interval or (0, 0)
        hits += low <= truth <= high
        errors += (correlation(x, rng.standard_normal(60), draws=200, seed=i).p or 0) < 0.05
    assert 0.88 <= hits / 150 <= 0.99
    assert errors / 150 <= 0.10


def test_resampling_within_strata_keeps_every_stratum_at_its_size() -> None:
    strata = ["low"] * 3 + ["high"] * 5
    within = _counts(strata, 8, 300, np.random.default_rng(0))
    free = _counts(None, 8, 300, np.random.default_rng(0))
    assert (within[:, :3].sum(axis=1) == 3).all()
    assert (within[:, 3:].sum(axis=1) == 5).all()
    assert set(free[:, :3].sum(axis=1)) > {1, 2, 3, 4, 5}


def test_resampling_within_budgets_is_narrower_where_the_budgets_decide() -> None:
    m, eta = [50, 50, 150, 500], [0.3, 0.1, 0.2, 0.4]
    within, free = correlation(m, eta, strata=m).interval, correlation(m, eta).interval
    assert within is not None
    assert free is not None
    assert within.low > free.low


def test_what_is_not_finite_or_not_of_one_length_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        correlation([1, 2, math.nan], [1, 2, 3])
    with pytest.raises(ValueError, match="one shape"):
        correlation([1, 2], [1, 2, 3])
    assert correlation([1, 2], [1, 2]).value is None


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return plane_records.sweep(
        seeds=30, attacks={k: plane_records.ATTACKS[k] for k in ("badnets", "wanet")}, seed=3
    )


def test_more_poison_is_found_harder_to_repair_and_easier_to_detect(records: list[Record]) -> None:
    found = {(t.of, t.method, t.victim.attacks[0].name): t for t in trends(records)}
    certain = found["η", "none", "badnets"].models
    assert certain.interval is not None
    # budgets part the victims, whichever are drawn
    assert certain.interval.high - certain.interval.low < 0.01
    eta = found["η", "weight_decay", "badnets"]
    assert eta.budgets == plane_records.BUDGETS
    assert eta.models.n == 90
    assert eta.models.value is not None
    assert eta.models.value > 0.3
    assert (eta.models.p or 1) < 0.01
    rho = found["ρ", "calibrated_inversion", "badnets"]
    assert rho.models.value is not None
    assert rho.models.interval is not None
    assert rho.models.interval.low < rho.models.value < rho.models.interval.high
    assert rho.models.value > 0
    assert len(found) == 2 * (3 + 2)


def test_shuffled_budgets_have_no_trend() -> None:
    flat = {"badnets": plane_records.Attack(0.99, 0.2, 0.0)}  # scores do not depend on m
    seen = [t for t in trends(plane_records.sweep(seeds=30, attacks=flat, seed=9)) if t.of == "ρ"]
    assert len(seen) == 2
    assert all(abs(t.models.value or 0) < 0.3 for t in seen)
    assert all(
        t.models.interval and t.models.interval.low < 0 < t.models.interval.high for t in seen
    )


def test_the_mean_of_placements_is_rho(records: list[Record]) -> None:
    from results.comparison.detectability import detections  # noqa: PLC0415

    by_m = {
        (d.detector.name, d.m): d.rho
        for d in detections(records)
        if d.victim.attacks[0].name == "wanet"
    }
    some = [t for t in trends(records) if (t.of, t.method) == ("ρ", "neural_cleanse")]
    (t,) = [t for t in some if t.victim.attacks[0].name == "wanet"]
    assert t.means == pytest.approx([by_m["neural_cleanse", m] for m in plane_records.BUDGETS])


def test_the_table_of_trends_says_each_claim_once(records: list[Record]) -> None:
    frame = trends_table.table(records)
    assert tuple(frame.columns) == trends_table.COLUMNS
    assert len(frame) == 10
    assert set(frame["number"]) == {"η (%)", "ρ"}
    assert trends_table.table([]).empty


def _settings(planted: list[float], real: list[float], seed: int = 0) -> list[Record]:
    rows = []
    for i, (a, b) in enumerate(zip(planted, real, strict=True)):
        lr = {"lr": 0.001 * (i + 1)}
        rows.append(
            synthetic.tuned(
                [(0, 0.95, 1.0), (50, 0.94, a)], "tuning", "weight_decay", lr, seed=seed
            )
        )
        rows.append(
            synthetic.real([(0, 0.95, 1.0), (50, 0.94, b)], defense="weight_decay", params=lr)
        )
    return rows


def test_an_order_that_carries_over_is_told_from_one_that_turns_round() -> None:
    planted = [0.1, 0.2, 0.3, 0.4, 0.5]
    same, turned = (
        _settings(planted, [0.3, 0.5, 0.6, 0.8, 0.9]),
        _settings(planted, [0.9, 0.8, 0.6, 0.5, 0.3]),
    )
    (good, all_good), (bad, _) = transfers(same), transfers(turned)
    assert (good.defense, all_good.defense) == ("weight_decay", None)
    assert [good.spearman.value, good.kendall.value] == pytest.approx([1, 1])
    assert good.cost == 0
    assert bad.spearman.value == pytest.approx(-1)
    assert bad.cost == pytest.approx(0.6)


def test_only_settings_run_on_both_sides_count_and_frozen_runs_do_not() -> None:
    records = _settings([0.1, 0.2, 0.3, 0.4], [0.3, 0.5, 0.6, 0.8])
    alone = synthetic.tuned(
        [(0, 0.95, 1.0), (50, 0.94, 0.0)], "tuning", "weight_decay", {"lr": 9.0}
    )
    frozen = synthetic.real(
        [(0, 0.95, 1.0), (50, 0.94, 0.0)],
        defense="weight_decay",
        params={"lr": 0.004},
        game_params={"stop_at": 50},
    )
    real = synthetic.real(
        [(0, 0.95, 1.0), (50, 0.94, 0.0)], defense="weight_decay", params={"lr": 8.0}
    )
    assert [len(t.planted) for t in transfers([*records, alone, frozen, real])] == [4, 4]
    assert transfers(records[:4]) == []  # two settings have no order to speak of
    row = transfer_table.table(records).iloc[0]
    assert (row["Spearman"], row["settings tried"], row["η given away (pp)"]) == (1.0, 4, 0.0)
    assert transfer_table.table([]).empty
