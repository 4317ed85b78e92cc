"""Normalisation between a network's layers."""

from collections.abc import Callable
from functools import partial

from torch import nn

from trials.spec import SpecError

Layer = Callable[[int], nn.Module]  # of so many channels


def between(width: int, groups: int) -> Layer:
    """Batch normalisation, or for ``groups`` above 0 group normalisation with so many groups.

    Raises:
        SpecError: the groups do not divide the width.
    """
    if groups and width % groups:
        raise SpecError(f"groups must divide width, {width}, or be 0; got {groups}.")
    return partial(nn.GroupNorm, groups) if groups else nn.BatchNorm2d
