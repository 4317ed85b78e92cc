"""Deep k-NN: neighbours' labels, in chunks, and how many are asked."""

import pytest
import torch
from scored_rows import Attacked

from trials.filters.deep_knn import _margins, neighbours
from trials.spec import SpecError


def test_margins_count_labels() -> None:
    near, own = torch.tensor([[0, 0, 1, 2], [1, 1, 1, 1], [2, 2, 2, 0]]), torch.tensor([0, 0, 2])
    assert _margins(near, own, 3, "majority").tolist() == [0.0, 1.0, -0.5]
    assert _margins(near, own, 3, "plurality").tolist() == [-0.25, 1.0, -0.5]


def test_a_row_is_no_neighbour_of_its_own(attacked: Attacked) -> None:
    """With one neighbour a margin is 1 or -1; one that met itself would always be -1."""
    found = attacked.scored("deep_knn", assumed=1e-9)
    assert found.extra == {"k": 1.0}
    assert torch.unique(found.scores).tolist() == [-1.0, 1.0]


def test_chunks_change_nothing(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = attacked.scored("deep_knn").scores
    monkeypatch.setattr("trials.filters.deep_knn._CHUNK", 100)
    assert torch.equal(attacked.scored("deep_knn", attacked.view).scores, whole)


def test_more_neighbours_than_images_are_refused(attacked: Attacked) -> None:
    assert neighbours(50_000, 0.01, 2.0) == 1000
    with pytest.raises(SpecError, match=r"deep_knn: \d+ nearest of \d+ other images: lower"):
        attacked.scored("deep_knn", assumed=1.0, factor=2.0)
