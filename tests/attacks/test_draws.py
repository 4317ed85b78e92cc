"""Random numbers keyed by an image's place, and work in chunks."""

import pytest
import torch
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks, seed_of, uniform


def test_an_image_gets_the_same_numbers_in_any_company() -> None:
    whole = uniform(5, torch.arange(100), 7)
    assert torch.equal(uniform(5, torch.tensor([42, 3]), 7), whole[[42, 3]])
    assert torch.equal(uniform(5, torch.arange(100), 4), whole[:, :4])
    assert torch.equal(uniform(5, torch.arange(100, dtype=torch.int32), 7), whole)


def splitmix(state: int) -> int:
    """The next output after ``state``, in Python's own integers."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_the_numbers_are_splitmix_started_at_splitmix() -> None:
    assert splitmix(0) == 0xE220A8397B1DCDAF  # known from the generator's publication
    seed, step = 2**61 + 17, 0x9E3779B97F4A7C15
    starts = [splitmix(seed + step * (i - 1)) for i in (0, 1, 99)]
    expected = [
        [(splitmix(start + step * lane) >> 40) / 2**24 for lane in range(3)] for start in starts
    ]
    assert uniform(seed, torch.tensor([0, 1, 99]), 3).tolist() == expected


@pytest.mark.parametrize("seed", [0, 1, 2**61 + 12345])
def test_the_numbers_are_uniform_over_images_and_over_each_image(seed: int) -> None:
    draws = uniform(seed, torch.arange(4000), 50)
    assert draws.min() >= 0 and draws.max() < 1
    bins = (draws * 20).long().flatten().bincount(minlength=20).double()
    assert float(((bins - 10_000) ** 2 / 10_000).sum()) < 50.8  # chi-squared of 19 at 1e-4
    assert (draws.mean(0) - 0.5).abs().max() < 5 * (1 / 12 / 4000) ** 0.5
    assert (draws.mean(1) - 0.5).abs().max() < 5 * (1 / 12 / 50) ** 0.5


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (1, 1)])
def test_neighbouring_numbers_images_and_seeds_are_not_correlated(shift: tuple[int, int]) -> None:
    draws = uniform(7, torch.arange(2001), 51).double() - 0.5
    image, lane = shift
    here, there = draws[: 2001 - image, : 51 - lane], draws[image:, lane:]
    assert abs(float((here * there).mean()) * 12) < 5 / here.numel() ** 0.5
    other = uniform(8, torch.arange(2001), 51).double() - 0.5
    assert abs(float((draws * other).mean()) * 12) < 5 / draws.numel() ** 0.5


def test_no_two_images_share_their_numbers() -> None:
    assert len(uniform(3, torch.arange(50_000), 4).unique(dim=0)) == 50_000  # type: ignore[no-untyped-call]


def test_a_seed_is_drawn_from_the_generator() -> None:
    seeds = {seed_of(Generator().manual_seed(i)) for i in range(50)}
    assert len(seeds) == 50 and seed_of(Generator().manual_seed(3)) == seed_of(
        Generator().manual_seed(3)
    )


@pytest.mark.parametrize("n", [0, 1, 9, 10])
def test_chunks_are_small_and_give_the_whole(n: int) -> None:
    x, sizes = torch.arange(n * 12).reshape(n, 3, 2, 2).to(torch.uint8), []

    def add(part: Tensor, index: Tensor) -> Tensor:
        sizes.append(len(part))
        return part + index[:, None, None, None].to(torch.uint8)

    out = in_chunks(add, x, torch.arange(n), values=40)  # room for three images of 12 values
    assert torch.equal(out, x + torch.arange(n)[:, None, None, None].to(torch.uint8))
    assert sum(sizes) == n and max(sizes, default=0) <= 3
