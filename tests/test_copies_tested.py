"""What kinds of trigger say, how deep copies' backdoors are, and patches of clean models, from rows
made by hand.
"""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import natural_triggers
from benchmarks._depths import TRAINED_IN, Seen
from benchmarks._depths import table as depths
from benchmarks.by_kind import REAL, WORST, Said, given_away, groups, order, table
from benchmarks.depth import distance
from trials.types import Images


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
        copies="one",
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
    assert "| patch | 0.18 | 1 | 0.82 | - |" in table([replace(o, within=False) for o in FOUND])


def test_regret_is_beside_the_least_at_any_step_that_is_taken() -> None:
    """Of a setting the worst takes a step that leaves 0.1, the patch one that leaves 0.6."""
    found = [
        replace(o, step=50, eta=0.6) if o.by == "patch" and o.method == "b" else o for o in FOUND
    ]
    ((group,),) = groups(found).values()
    assert given_away(group, "patch", REAL) == pytest.approx(0.7)


def test_what_two_stores_have_counts_once() -> None:
    ((group,),) = groups([*FOUND, *FOUND]).values()
    assert len(group[WORST]) == 4
    other = [replace(one, copies="two") for one in FOUND]
    ((one, two),) = groups([*FOUND, *other]).values()
    assert len(one[WORST]) == len(two[WORST]) == 4


def test_the_order_is_kendalls() -> None:
    ((group,),) = groups(FOUND).values()
    assert order(group[WORST]) == 1
    assert order(group["patch"]) == pytest.approx(1 / 30**0.5)


def test_schemes_are_told_apart() -> None:
    other = _said("a", {"patch": 0.0, "warp": 0.9}, 0.8, scheme="labels")
    assert [len(mine) for mine in groups([*FOUND, *other]).values()] == [1, 1]


def _seen(
    scheme: str, half_life: int, repair: str, eta: float, shift: float, trusted: float = 0.05
) -> Seen:
    return Seen(
        victim="v",
        attack="badnets",
        victim_seed=0,
        trusted=trusted,
        seed=0,
        scheme=scheme,
        copy=0,
        kind="",
        asr=1.0,
        cda=0.8,
        half_life=half_life,
        half_life_real=200,
        real_asr=1.0 if scheme == TRAINED_IN else 0.6,
        repair=repair,
        eta=eta,
        eta_real=0.1,
        shift=shift,
    )


def test_depth_counts_copies_that_are_shallower_than_their_victim() -> None:
    rows = [_seen(TRAINED_IN, 200, "fst", 0.1, 0.0, r) for r in (0.05, 0.1)]
    for r, half_life in ((0.05, 50), (0.1, 300)):
        pairs = enumerate((0.1, 0.2, 0.5))
        rows += [replace(_seen("late", half_life, "fst", e, e, r), copy=i) for i, e in pairs]
    trained, copies = depths(rows)[2:]
    assert trained == "| trained in | 1 | 100 | 200 |  |  |  |  |"
    assert copies == "| late | 1 | 100 | 175 | 3 of 6 | 60, 60 | 40 (40 to 40) | 1.00 |"


def test_changes_are_apart_by_their_angle() -> None:
    one = torch.tensor([1.0, 0.0])
    assert distance(one, 3 * one) == 0
    assert distance(one, torch.tensor([0.0, 2.0])) == 1
    assert distance(one, -one) == 2


def test_a_patch_that_a_model_obeys_is_found() -> None:
    """It says class 1 of whatever is bright in one corner."""

    class Bright(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = 20 * (x[:, :, :3, :3].mean((1, 2, 3)) - 0.5)
            return torch.stack([-bright, bright], 1)

    rng = torch.Generator().manual_seed(0)
    x = torch.randint(100, (40, 3, 8, 8), generator=rng, dtype=torch.uint8)
    images = Images(x, torch.zeros(40, dtype=torch.int64), 2)
    box = (slice(0, 3), slice(0, 3))
    assert natural_triggers.rate(Bright(), images, 1) == 0
    mark = natural_triggers.descended(Bright(), images, 1, box, 50, rng)
    assert natural_triggers.rate(Bright(), images, 1, (box, mark)) == 1
    other = (slice(5, 8), slice(5, 8))
    assert natural_triggers.rate(Bright(), images, 1, (other, mark)) == 0
    assert (images.x == x).all()
