"""What kinds of trigger say, and how deep copies' backdoors are, from rows made by hand."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks.depth import TRAINED_IN, Seen, distance
from benchmarks.depth import table as depths
from benchmarks.kinds import REAL, WORST, Said, given_away, groups, order, table


def _said(
    method: str, left: dict[str, float], eta: float, within: bool = True, scheme: str = "late"
) -> list[Said]:
    """Of one setting, by each kind and by the worst."""
    one = Said(
        victim="v",
        attack="badnets",
        victim_seed=0,
        trusted=0.05,
        scheme=scheme,
        by=WORST,
        defense="fst",
        method=method,
        step=100,
        cost=0.0,
        within=within,
        asr=max(left.values()),
        left=json.dumps(left),
        eta=eta,
    )
    return [one, *(replace(one, by=kind, asr=asr) for kind, asr in left.items())]


FOUND = [
    *_said("a", {"patch": 0.0, "warp": 0.9}, 0.8),
    *_said("b", {"patch": 0.3, "warp": 0.2}, 0.1),
    *_said("c", {"patch": 0.5, "warp": 0.5}, 0.3),
    *_said("d", {"patch": 0.0, "warp": 0.0}, 0.0, within=False),
]


def test_a_choice_gives_away_what_another_would_have_left_less_of() -> None:
    ((group,),) = groups(FOUND).values()
    assert given_away(group, "patch", REAL) == pytest.approx(0.7)  # takes a, b leaves 0.1
    assert given_away(group, "patch", "warp") == pytest.approx(0.7)
    assert given_away(group, "patch", "patch") == 0
    assert given_away(group, WORST, REAL) == 0
    assert given_away(group, WORST, "patch") == pytest.approx(0.3)


def test_nothing_is_given_away_where_everything_costs_too_much() -> None:
    ((group,),) = groups(replace(one, within=False) for one in FOUND).values()
    assert given_away(group, "patch", REAL) is None
    assert "| patch | 1 | 0.18 | 0.82 | - |" in table([replace(o, within=False) for o in FOUND])


def test_the_order_is_kendalls() -> None:
    ((group,),) = groups(FOUND).values()
    assert order(group[WORST]) == 1
    assert order(group["patch"]) == pytest.approx(1 / 30**0.5)


def test_schemes_are_told_apart() -> None:
    other = _said("a", {"patch": 0.0, "warp": 0.9}, 0.8, scheme="labels")
    assert [len(mine) for mine in groups([*FOUND, *other]).values()] == [1, 1]


def _seen(scheme: str, half_life: int, repair: str, eta: float, shift: float) -> Seen:
    return Seen(
        victim="v",
        attack="badnets",
        victim_seed=0,
        scheme=scheme,
        copy=0,
        kind="",
        asr=1.0,
        cda=0.8,
        half_life=half_life,
        real_asr=1.0 if scheme == TRAINED_IN else 0.6,
        repair=repair,
        eta=eta,
        eta_real=0.1,
        shift=shift,
    )


def test_depth_counts_copies_that_are_shallower_than_their_victim() -> None:
    rows = [_seen(TRAINED_IN, 200, "fst", 0.1, 0.0)]
    rows += [_seen("late", 50, name, eta, eta) for name, eta in (("a", 0.2), ("b", 0.5), ("c", 1))]
    trained, late = depths(rows)[2:]
    assert trained == "| trained in | 1 |  | 100 | 200 |  | 100 |  |"
    assert late == "| late | 1 | 1 | 100 | 50 | 1 of 1 | 60, 60 | 1.00 |"


def test_changes_are_apart_by_their_angle() -> None:
    one = torch.tensor([1.0, 0.0])
    assert distance(one, 3 * one) == 0
    assert distance(one, torch.tensor([0.0, 2.0])) == 1
    assert distance(one, -one) == 2
