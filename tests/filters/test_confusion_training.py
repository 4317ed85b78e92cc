"""Confusion training: rows that stay, classes that are two groups, and when those are cleaned."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from scored_rows import Attacked

from trials.datasets import digits
from trials.filters.confusion_training import _wrong, above, likelihood_ratio, most_suspicious
from trials.spec import SpecError

QUICK = {"rounds": 1, "epochs": 1, "steps": 4}


def test_the_lowest_losses_stay_and_some_of_each_class() -> None:
    losses, labels = torch.arange(200.0), torch.arange(200) // 100
    chosen = most_suspicious(losses, labels, 0.1)
    assert set(range(20)) <= set(chosen.tolist())
    assert chosen[chosen >= 100].tolist() == [100, 101]  # 2 % of the second class


def test_two_groups_are_likelier_only_where_there_are_two() -> None:
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(200, 8, generator=rng)
    group = torch.zeros(200, dtype=torch.bool)
    group[:40] = True
    assert 1.0 <= likelihood_ratio(latents, group) < 1.2
    latents[group, 3] += 9.0
    assert likelihood_ratio(latents, group) > 2.0
    assert likelihood_ratio(latents, torch.zeros(200, dtype=torch.bool)) == 1.0


def test_classes_above_the_ratio_are_cleaned_of_what_is_right(attacked: Attacked) -> None:
    """The latents are those of the trained model, in which the patch is a cluster of its own."""
    keep, rows = attacked.view.keep, attacked.view.train
    told = {"losses": torch.zeros(len(rows)), "right": attacked.poisoned | (rows.y == 5)}
    view = replace(
        attacked.view,
        keep=lambda name, make: told if name.startswith("confusion") else keep(name, make),
    )
    strict, plain = (attacked.scored("confusion_training", view, ratio=r) for r in (1e9, 1.6))
    assert plain.suspects is not None and strict.suspects is not None
    assert torch.equal(plain.suspects, attacked.poisoned)  # all of class 5 is no second group
    assert torch.equal(strict.suspects, attacked.poisoned)  # the likeliest alone, above 1.5


def test_the_likeliest_class_is_cleaned_wherever_another_is() -> None:
    assert above({0: 1.3, 1: 1.25, 2: 1.0}, 1.2) == [0, 1]
    assert above({0: 1.3, 1: 1.0}, 1.2) == [0]
    assert above({0: 1.9, 1: 1.8}, 2.0) == [0]  # the likeliest alone, above 1.5
    assert above({0: 1.4, 1: 1.0}, 2.0) == above({0: 1.1, 1: 1.0}, 1.2) == []


def test_no_batch_of_wrong_labels_is_a_single_image() -> None:
    images = digits.load("train", size=8).take(torch.arange(65))
    batches = _wrong(images, images.y, 32, torch.Generator().manual_seed(0))
    assert [len(x) for x, _ in islice(batches, 4)] == [32] * 4


def test_more_rounds_than_there_are_is_one_line(attacked: Attacked) -> None:
    with pytest.raises(SpecError, match=r"rounds must lie in \[1, 6\], got 7\.") as caught:
        attacked.scored("confusion_training", rounds=7)
    assert "\n" not in str(caught.value)
