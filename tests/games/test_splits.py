"""Trusted images are clean, stratified and nested; their three parts never overlap."""

from typing import Any

import pytest
import tiny_sweep
import torch
from torch import Generator, Tensor

from sweep.spec.sweep_file import Sweep
from trials.runtime import TrialRuntime
from trials.spec import SpecError, Trial
from trials.splits import cut, draw_trusted
from trials.types import Images

CLASSES, EACH = 10, 60


def labels() -> Tensor:
    return torch.arange(CLASSES * EACH) % CLASSES


def images() -> Images:
    return Images(torch.zeros(CLASSES * EACH, 3, 2, 2, dtype=torch.uint8), labels(), CLASSES)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.mark.parametrize("folds", [1, 2, 4, 5])
@pytest.mark.parametrize("copy", [0, 3])
def test_the_three_parts_are_disjoint_and_together_all(folds: int, copy: int) -> None:
    parts = cut(labels(), copy, folds, rng())
    assert torch.cat(parts).sort().values.equal(torch.arange(CLASSES * EACH))
    assert all(len(p) for p in parts)


def test_each_part_holds_every_class_in_its_share() -> None:
    for part in cut(labels(), 1, 4, rng()):
        counts = torch.bincount(labels()[part], minlength=CLASSES).double()
        assert (counts - counts.mean()).abs().max() <= 2


def test_the_report_part_is_the_same_for_every_copy() -> None:
    assert all(cut(labels(), i, 4, rng())[2].equal(cut(labels(), 0, 4, rng())[2]) for i in range(5))


def test_folds_rotate_so_that_four_copies_select_on_everything_once() -> None:
    cuts = [cut(labels(), i, 4, rng()) for i in range(5)]
    select = torch.cat([c[1] for c in cuts[:4]])
    assert len(select.unique()) == len(select) == CLASSES * EACH - len(cuts[0][2])  # type: ignore[no-untyped-call]
    assert cuts[4][1].equal(cuts[0][1])


def test_one_fold_gives_every_copy_the_same_cut() -> None:
    assert cut(labels(), 0, 1, rng())[1].equal(cut(labels(), 3, 1, rng())[1])


def test_another_seed_cuts_otherwise() -> None:
    assert not cut(labels(), 0, 4, rng(0))[2].equal(cut(labels(), 0, 4, rng(1))[2])


def test_no_banned_image_is_trusted() -> None:
    banned = torch.arange(0, CLASSES * EACH, 3)
    drawn = draw_trusted(images(), 0.6, banned, rng())
    assert len(drawn) == 360
    assert not set(drawn.tolist()) & set(banned.tolist())


def test_a_smaller_r_draws_a_part_of_a_larger_one() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    small, large = (
        draw_trusted(images(), 0.1, none, rng()),
        draw_trusted(images(), 0.5, none, rng()),
    )
    assert large[: len(small)].equal(small)


def test_trusted_images_are_stratified() -> None:
    drawn = draw_trusted(images(), 0.25, torch.zeros(0, dtype=torch.int64), rng())
    counts = torch.bincount(labels()[drawn], minlength=CLASSES)
    assert int(counts.max() - counts.min()) <= 2


@pytest.mark.parametrize(
    ("r", "says"),
    [
        (0.0, r"\(0, 1\], got 0"),
        (-0.1, "got -0.1"),
        (5.0, "write 0.05 for 5 %"),
        (0.05, "at least 50"),
        (1.5, "0.015"),
    ],
)
def test_an_r_that_cannot_be_used_is_refused(r: float, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        draw_trusted(images(), r, torch.zeros(0, dtype=torch.int64), rng())


def test_more_trusted_images_than_clean_ones_are_refused_and_not_silently_fewer() -> None:
    with pytest.raises(SpecError, match="poisoned or trained on"):
        draw_trusted(images(), 1.0, torch.arange(60), rng())
    assert len(draw_trusted(images(), 0.9, torch.arange(60), rng())) == 540


def test_the_runtime_never_trusts_a_poisoned_image(sweep: Sweep, runtime: TrialRuntime) -> None:
    trial = tiny_sweep.first(sweep, "tuning")
    poisoned = runtime.poisoning(trial.victim)
    trusted = runtime.trusted(trial)
    places = {bytes(x.numpy()) for x in poisoned.train.x[poisoned.places]}
    assert not places & {bytes(x.numpy()) for x in trusted.x}


def test_a_reserve_is_trusted_and_never_trained_on(runtime: TrialRuntime) -> None:
    held = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "reserve": 0.3}, trusted=0.3)
    trial = tiny_sweep.first(held, "tuning")
    everything = runtime.images(_key(trial), "train")
    train, trusted = runtime.poisoning(trial.victim).train, runtime.trusted(trial)
    assert len(train) + len(trusted) == len(everything)
    clean = runtime.trainable(trial.victim)
    together = torch.cat([clean.x, trusted.x]).flatten(1).sum(1).sort().values
    assert together.equal(everything.x.flatten(1).sum(1).sort().values)


def test_r_beyond_the_reserve_is_refused(runtime: TrialRuntime) -> None:
    held = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "reserve": 0.2}, trusted=0.3)
    with pytest.raises(SpecError, match=r"0\.2 or less|0\.199 or less"):
        runtime.trusted(tiny_sweep.first(held, "tuning"))


def _key(trial: Trial) -> Any:
    from trials.cache_key import Key  # noqa: PLC0415

    return Key(trial.victim.dataset)
