"""Fronts: relations that hold for any points, a slow twin, and no NaN."""

import math

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from results.stats.pareto import (
    Floats,
    bands,
    dominated_share,
    front,
    hypervolume,
    minimal,
    nondominated,
)

RATES = st.integers(0, 12).map(lambda k: k / 12)  # few values, so that ties and duplicates happen
POINTS = st.integers(1, 40).flatmap(lambda n: arrays(np.float64, (n, 2), elements=RATES))


def slow(points: Floats) -> set[tuple[float, ...]]:
    """O(n^2): a point stays unless another is as good in both and better in one."""
    found = set()
    for p in points:
        beaten = any(q[0] <= p[0] and q[1] >= p[1] and (q[0] < p[0] or q[1] > p[1]) for q in points)
        if not beaten:
            found.add(tuple(p.tolist()))
    return found


@given(POINTS)
def test_front_is_that_of_the_slow_twin_in_order_and_without_repeats(points: Floats) -> None:
    edge = front(points)
    assert {tuple(p) for p in edge.tolist()} == slow(points)
    assert len(edge) == len(slow(points))
    assert (np.diff(edge[:, 0]) > 0).all()
    assert (np.diff(edge[:, 1]) > 0).all()


@given(POINTS)
def test_mask_marks_the_first_of_equal_points(points: Floats) -> None:
    kept = np.flatnonzero(nondominated(points))
    rows = [tuple(p) for p in points.tolist()]
    assert {rows[i] for i in kept} == slow(points)
    assert [rows.index(rows[i]) for i in kept] == kept.tolist()


@given(POINTS, st.randoms(use_true_random=False))
def test_front_does_not_care_for_order_or_repetition(points: Floats, rng: object) -> None:
    order = np.random.default_rng(len(points)).permutation(len(points))
    assert np.array_equal(front(points[order]), front(points))
    assert np.array_equal(front(np.vstack([points, points])), front(points))
    assert hypervolume(points[order]) == pytest.approx(hypervolume(points))


@given(POINTS)
def test_swapping_and_mirroring_both_axes_mirrors_the_front(points: Floats) -> None:
    mirrored = 1 - points[:, ::-1]  # CDA's misses as ASR and the other way round
    assert np.allclose(front(mirrored), (1 - front(points)[:, ::-1])[::-1])
    assert hypervolume(mirrored) == pytest.approx(hypervolume(points))


@given(POINTS, RATES, RATES)
def test_another_point_never_shrinks_the_hypervolume(
    points: Floats, asr: float, cda: float
) -> None:
    before = hypervolume(points)
    assert 0 <= before <= 1
    assert hypervolume(np.vstack([points, [[asr, cda]]])) >= before - 1e-12


@given(POINTS, st.tuples(RATES, RATES))
def test_front_and_hypervolume_agree_with_moocore(
    points: Floats, reference: tuple[float, float]
) -> None:
    mask = moocore.is_nondominated(points, maximise=[False, True])
    assert np.array_equal(nondominated(points), mask)
    theirs = moocore.hypervolume(points, ref=list(reference), maximise=[False, True])
    assert hypervolume(points, reference) == pytest.approx(theirs)


def test_hypervolume_is_the_area_of_a_rectangle_for_one_point() -> None:
    assert hypervolume([[0.25, 0.5]]) == pytest.approx(0.75 * 0.5)
    assert hypervolume([[0.0, 1.0]]) == pytest.approx(1.0)
    assert hypervolume(np.empty((0, 2))) == 0.0
    assert front([]).shape == (0, 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_everywhere(bad: float) -> None:
    points = [[0.1, 0.9], [bad, 0.5]]
    for function in (front, nondominated, hypervolume, lambda p: bands([p])):
        with pytest.raises(ValueError, match="1 of 2 points are not finite, the first in row 1"):
            function(points)
    with pytest.raises(ValueError, match="not finite"):
        hypervolume([[0.1, 0.9]], reference=(bad, 0.0))


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        front([[0.1, 0.2, 0.3]])


def test_the_points_given_are_left_alone() -> None:
    points = np.random.default_rng(0).random((50, 2))
    copy = points.copy()
    front(points), hypervolume(points), bands([points])
    assert np.array_equal(points, copy)


def test_bands_of_one_run_are_its_front_and_better_shares_lie_inside() -> None:
    rng = np.random.default_rng(1)
    runs = [rng.random((30, 2)) for _ in range(8)]
    assert np.allclose(bands(runs[:1], [0.5])[0.5], front(runs[0]))
    found = bands(runs, [0.125, 0.5, 1.0])
    areas = [hypervolume(found[s]) for s in (0.125, 0.5, 1.0)]
    assert areas[0] > areas[1] > areas[2]
    assert areas[0] == pytest.approx(hypervolume(np.vstack(runs)))  # reached by at least one run
    again = bands(runs[::-1], [0.5])[0.5]
    assert np.allclose(again, found[0.5])


def test_bands_say_what_is_missing() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        bands([])
    with pytest.raises(ValueError, match="shares lie"):
        bands([[[0.1, 0.9]]], [50])


TRIPLES = st.integers(1, 20).flatmap(lambda n: arrays(np.float64, (n, 3), elements=RATES))


@given(TRIPLES)
def test_of_three_coordinates_a_point_stays_unless_another_is_less_in_all(points: Floats) -> None:
    kept = points[minimal(points)]
    assert len(np.unique(kept, axis=0)) == len(kept) > 0
    for p in points:
        beaten = np.any(np.all(points <= p, axis=1) & np.any(points < p, axis=1))
        assert bool(beaten) != bool(np.any(np.all(kept == p, axis=1)))


@given(TRIPLES)
def test_the_share_behind_points_is_that_of_a_grid_of_cells(points: Floats) -> None:
    centres = (np.arange(12) + 0.5) / 12  # all coordinates lie between these
    cells = np.stack(np.meshgrid(centres, centres, centres), axis=-1).reshape(-1, 3)
    behind = np.any(np.all(cells[:, None, :] > points[None], axis=2), axis=1)
    assert dominated_share(points, (1.0, 1.0, 1.0)) == pytest.approx(behind.mean())
    scaled = points * [1.0, 0.1, 2.0]
    assert dominated_share(scaled, (1.0, 0.1, 2.0)) == pytest.approx(behind.mean())


def test_what_gains_counts_as_nothing_lost_and_what_is_beyond_counts_for_nothing() -> None:
    assert dominated_share([[0.5, -0.3]], (1.0, 0.1)) == pytest.approx(0.5)
    assert dominated_share([[0.0, 0.1], [2.0, 0.0]], (1.0, 0.1)) == 0 == dominated_share([], (1, 1))
    assert minimal([]).tolist() == []
    with pytest.raises(ValueError, match=r"shape \(n, 2\), got \(1, 3\)"):
        dominated_share([[0.0, 0.0, 0.0]], (1.0, 1.0))
    with pytest.raises(ValueError, match="not finite"):
        minimal([[math.nan, 0.0, 0.0]])
