"""The gallery of attacks."""

from pathlib import Path

import numpy as np
import pytest

from results.figures.gallery import ROWS, difference, figure
from sweep.commands.gallery import make
from trials import catalog


def test_there_is_a_column_for_every_attack(tmp_path: Path) -> None:
    html = make("digits", tmp_path / "page" / "gallery.html").read_text()
    verbs = {n: catalog.describe("attacks", n).verb for n in catalog.names("attacks")}
    shown = {name for name in verbs if f'"{name}"' in html}
    assert shown == {name for name, verb in verbs.items() if verb != "craft"}
    assert all(row in html for row in ROWS)


def test_the_difference_is_grey_where_nothing_changed_and_magnified_where_something_did() -> None:
    clean = np.full((2, 2, 3), 100, dtype=np.uint8)
    changed = clean.copy()
    changed[0, 0], changed[1, 1] = 110, 0
    shown = difference(clean, changed, 3.0)
    assert (
        shown[0, 1].tolist() == [128] * 3
        and shown[0, 0].tolist() == [158] * 3
        and shown[1, 1].tolist() == [0] * 3
    )
    chart = figure({"a": (clean, changed), "b": (clean, clean)})
    assert len(chart.data) == 6
    assert not figure({}).data


@pytest.mark.parametrize("index", [-1, 10**6])
def test_an_image_that_is_not_there_is_refused(tmp_path: Path, index: int) -> None:
    with pytest.raises(ValueError, match="--image must be in"):
        make("digits", tmp_path / "gallery.html", index)
