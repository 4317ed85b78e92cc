"""EPIC leaves something to train on, or says in a line that it does not."""

from pathlib import Path

import pytest
import tiny_sweep
import torch
from torch import Generator, nn

from sweep.execution import preflight
from trials.datasets import digits
from trials.models import small_cnn
from trials.recipes import epic
from trials.recipes._rows import Epic
from trials.spec import SpecError
from trials.types import Images, Poisoning


def network() -> nn.Module:
    torch.manual_seed(0)
    return small_cnn.build(10, 8, width=4)


def with_rare_classes() -> Images:
    """All digits, but one of class 9 and two of class 8."""
    data = digits.load("train", size=8)
    parts = [(data.y < 8).nonzero().flatten()]
    parts += [(data.y == label).nonzero().flatten()[:n] for label, n in ((8, 2), (9, 1))]
    return data.take(torch.cat(parts))


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_no_class_goes_as_a_whole(share: float) -> None:
    data, counter = with_rare_classes(), Epic(0, 1, share, 64)
    for number in range(4):
        left = counter.epoch(number, network(), data, Generator())
        assert left is not None and len(torch.unique(data.y[left])) == 10
    assert left is not None and (len(left) < len(data)) == (share < 1)


def test_medoids_are_at_most_half_of_the_rows_before_anything_runs(tmp_path: Path) -> None:
    config = tiny_sweep.worker_config(tmp_path / "artifacts")

    def checked(share: float) -> None:
        training = {"name": "epic", "epochs": 2, "begin": 0, "share": share}
        given = {**tiny_sweep.VICTIM, "training": training}
        preflight.check(tiny_sweep.sweep(victim=given, game="training"), config)

    checked(0.5)
    with pytest.raises(
        SpecError, match=r"epic: share = 0\.51 makes more than half of a class"
    ) as told:
        checked(0.51)
    assert "at most 0.5" in str(told.value) and "\n" not in str(told.value)


def test_fewer_rows_than_a_batch_are_a_line() -> None:
    rows = 200
    data = digits.load("train", size=8).take(torch.arange(rows))
    steps = epic.fit(
        network(),
        Poisoning(data),
        Generator().manual_seed(0),
        begin=0,
        every=1,
        share=0.5,
        epochs=4,
        peak=0.1,
        batch=rows,
    )
    says = rf"epic left \d+ of {rows} rows before epoch 0, fewer than a batch of {rows}\. Lower"
    with pytest.raises(ArithmeticError, match=says):
        list(steps)
