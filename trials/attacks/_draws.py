"""Random numbers that belong to an image: a hash of the attack's seed and the image's place, not a
running state.

An image gets the same numbers alone and in any batch, on every device.
"""

import math

import torch
from torch import Generator, Tensor

from trials.types import Trigger

# of SplitMix64, signed
_STEP, _FIRST, _SECOND = (-0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)


def seed_of(rng: Generator) -> int:
    """A seed for ``uniform``, drawn from ``rng``."""
    return int(torch.randint(2**62, (), generator=rng))


def uniform(seed: int, index: Tensor, count: int) -> Tensor:
    """float32 (n, count) in [0, 1), multiples of 2^-24: ``count`` numbers for each of the places
    ``index``.
    """
    image = _mixed(index.long() * _STEP + seed)
    lane = (torch.arange(count, device=index.device) + 1) * _STEP
    return _shifted(_mixed(image[:, None] + lane), 40).float() / 2**24


def in_chunks(function: Trigger, x: Tensor, index: Tensor, values: int = 1 << 22) -> Tensor:
    """``function(x, index)``, a few images at a time: whole test sets do not fit into memory as
    floats.
    """
    step = max(1, values // math.prod(x.shape[1:]))
    index = index.to(x.device)
    parts = [function(x[i : i + step], index[i : i + step]) for i in range(0, len(x), step)]
    return torch.cat(parts) if parts else x.clone()


def _mixed(z: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 products wrap around."""
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, by: int) -> Tensor:
    """A right shift that brings in zeros; that of int64 repeats the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)
