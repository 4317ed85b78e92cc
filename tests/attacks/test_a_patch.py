"""A-Patch: what is hidden, who keeps their label, and the whole patch at test time."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import trigger_of
from torch import Generator, Tensor

from trials.attacks import a_patch, badnets
from trials.attacks._adaptive import grown, payload, shown_cells
from trials.types import Images, Poisoning


def grey(size: int = 32, n: int = 400) -> Images:
    return Images(
        torch.full((n, 3, size, size), 90, dtype=torch.uint8),
        torch.arange(n) % 4,
        4,
        pad=4,
        flip=True,
    )


def poisoned(size: int = 32, **settings: Any) -> Poisoning:
    return a_patch.poison(grey(size), Generator().manual_seed(0), **{"m": 300, **settings})


def shown(backdoor: Poisoning, side: int) -> Tensor:
    """Which pixels of the patch each poisoned image shows; 90 is neither black nor white."""
    return (backdoor.train.x[backdoor.places][:, 0, :side, :side] != 90).double()


@given(m=st.integers(0, 300), percent=st.integers(0, 100))
def test_exactly_the_asked_share_keeps_its_label_rounded_down(m: int, percent: int) -> None:
    roles = payload(m, percent / 100)
    assert len(roles) == m and int((~roles).sum()) == m * percent // 100
    assert torch.equal(roles, payload(300, percent / 100)[:m])  # the same roles whatever m is


def test_every_second_image_keeps_its_label_by_default() -> None:
    assert payload(5, 0.5).tolist() == [True, False, True, False, True]


def test_those_that_keep_their_label_carry_the_patch_too() -> None:
    data, backdoor = grey(), poisoned(conservatism=0.3)
    keeps = backdoor.train.y[backdoor.places] != 0
    assert int(keeps.sum()) == math.floor(0.3 * 300)
    assert torch.equal(backdoor.train.y[backdoor.places][keeps], data.y[backdoor.places][keeps])
    visible = shown(backdoor, 3).flatten(1).any(1)
    assert visible[keeps].double().mean() > 0.95 and visible[~keeps].double().mean() > 0.95


@pytest.mark.parametrize("occlusion", [0.25, 0.5])
def test_a_pixel_of_the_small_patch_is_hidden_with_the_asked_chance(occlusion: float) -> None:
    parts = shown(poisoned(occlusion=occlusion), 3)
    spread = 4 * (occlusion * (1 - occlusion) / 300) ** 0.5
    assert (parts.mean(0) - (1 - occlusion)).abs().max() < spread  # of each of the nine
    assert abs(float(parts.mean()) - (1 - occlusion)) < spread / 3
    assert len(parts.flatten(1).unique(dim=0)) > 100  # type: ignore[no-untyped-call]  # each image has its own


def test_nothing_hidden_is_badnets_and_all_hidden_leaves_the_image() -> None:
    plain = badnets.poison(grey(), Generator().manual_seed(0), m=5)
    open_, shut = poisoned(occlusion=0.0), poisoned(occlusion=1.0)
    assert (shown(open_, 3) == 1).all() and (shown(shut, 3) == 0).all()
    made = trigger_of(plain)(grey().x[open_.places], open_.places)
    assert torch.equal(open_.train.x[open_.places], made)


@pytest.mark.parametrize(
    "settings", [{}, {"mark": "random", "place": "random"}, {"alpha": 0.4}, {"patch": 7}]
)
def test_test_images_carry_the_patch_of_badnets_whole(settings: dict[str, Any]) -> None:
    x, index = grey(n=5).x, torch.arange(5)
    plain = badnets.poison(grey(), Generator().manual_seed(0), m=5, **settings)
    assert torch.equal(trigger_of(poisoned(**settings))(x, index), trigger_of(plain)(x, index))


def test_cells_are_squares_that_are_hidden_as_one() -> None:
    parts = shown(poisoned(size=128, mark="apple"), 12)  # 4 cells of 3 pixels each way
    cells = parts.unflatten(1, (4, 3)).unflatten(3, (4, 3))  # type: ignore[no-untyped-call]
    assert torch.equal(cells.amin((2, 4)), cells.amax((2, 4)))
    assert 0.45 < float(cells.mean()) < 0.55


def test_cells_of_unequal_width_cover_the_whole_mark() -> None:
    pixels = grown(torch.eye(4, dtype=torch.bool)[None], 6)[0]
    assert pixels.sum(0).tolist() == pixels.sum(1).tolist() == [2, 2, 1, 2, 2, 1]


@pytest.mark.parametrize(("cells", "hidden"), [(4, 8), (3, 4), (1, 0)])
def test_the_exact_law_hides_the_same_number_on_each_image(cells: int, hidden: int) -> None:
    parts = shown_cells(1, torch.arange(200), cells, 0.5, "exact")
    assert ((~parts).sum((1, 2)) == hidden).all()
    if hidden:
        assert (parts.double().mean(0) - (1 - hidden / cells**2)).abs().max() < 4 * 0.5 / 200**0.5
