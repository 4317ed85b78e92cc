"""Draws of a defender's poison after ones that were put aside."""

from collections.abc import Callable

from torch import Generator


def draw_of(rng: Callable[..., Generator], *stages: str | int, redrawn: int) -> Generator:
    """The generator of a draw, ``redrawn`` of which were put aside before it."""
    return rng(*stages, redrawn) if redrawn else rng(*stages)
