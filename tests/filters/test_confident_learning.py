"""Confident learning: its two formulas, and what it has to be blind to."""

from dataclasses import replace

import pytest
import torch
from scored_rows import Attacked

from trials.filters.confident_learning import confidently_other
from trials.metrics import auroc
from trials.spec import SpecError


def test_the_confident_joint_counts_rows_off_its_diagonal() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    probabilities = torch.tensor(
        [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55]]
    )
    # thresholds: class 0 has 0.6 on its rows, class 1 0.683; the last row reaches neither
    found = confidently_other(probabilities, labels)
    assert found.tolist() == [False, False, True, False, False, False]
    swapped = confidently_other(probabilities.flip(1), 1 - labels)
    assert torch.equal(swapped, found)


def test_a_class_without_rows_is_confident_in_none() -> None:
    probabilities = torch.tensor([[0.3, 0.1, 0.6], [0.1, 0.3, 0.6]])
    assert confidently_other(probabilities, torch.tensor([0, 1])).tolist() == [False, False]


def test_wrong_labels_are_found(attacked: Attacked) -> None:
    train, wrong = attacked.view.train, torch.zeros(len(attacked.view.train), dtype=torch.bool)
    wrong[(~attacked.poisoned).nonzero().flatten()[::20]] = True
    y = torch.where(wrong, (train.y + 1) % 10, train.y)
    view = replace(attacked.view, train=replace(train, y=y), keep=lambda _, make: make())
    found = attacked.scored("confident_learning", view)
    assert auroc(found.scores[wrong], found.scores[~wrong & ~attacked.poisoned]) > 0.95
    assert found.suspects is not None and found.suspects[wrong].double().mean() > 0.7


def test_it_is_blind_to_backdoors_whether_or_not_labels_are_flipped(
    attacked: Attacked, clean_label: Attacked
) -> None:
    """A model that never saw a row has learned its trigger from the other poisoned rows."""
    for one in (attacked, clean_label):
        assert one.auroc(one.scored("confident_learning")) < 0.75


@pytest.mark.parametrize("folds", [1, 5000])
def test_folds_that_cannot_be_cut_are_refused(folds: int, attacked: Attacked) -> None:
    with pytest.raises(SpecError, match=rf"folds must lie in \[2, 1082\].* got {folds}\."):
        attacked.scored("confident_learning", folds=folds)
