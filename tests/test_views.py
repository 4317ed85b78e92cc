"""What attackers and data filters may see and say."""

from dataclasses import fields

import pytest
import torch

from trials.views import AttackerView, DataView, SampleScores


def test_a_filter_sees_the_training_set_and_the_trusted_images_and_nothing_more() -> None:
    assert {f.name for f in fields(DataView)} == {
        *("train", "trusted", "fresh", "fit", "trained", "keep")
    }
    assert {f.name for f in fields(AttackerView)} == {*("train", "targets", "fresh", "fit", "keep")}


def test_scores_are_one_finite_number_an_image() -> None:
    assert SampleScores(torch.tensor([0.5, -1.0])).extra == {}
    with pytest.raises(ValueError, match="must be a vector, got the shape"):
        SampleScores(torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"suspects must be as the scores, \(2,\), got .* \(1,\)"):
        SampleScores(torch.zeros(2), torch.zeros(1, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"losses must be a row for each of 2 scores.*\(3, 4\)"):
        SampleScores(torch.zeros(2), losses=torch.zeros(3, 4))
    with pytest.raises(ArithmeticError, match="not finite"):
        SampleScores(torch.tensor([0.0, float("nan")]))
