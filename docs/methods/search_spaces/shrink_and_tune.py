"""Shrink and tune: the factor and the learning rate.

Source: an example for the documentation.
Deviation: the same values for every profile.
"""

from search_spaces._ask import Ask, number
from trials.spec import MethodConfig


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``shrink_and_tune``; the first value of each is the default."""
    factor = number(ask, "factor", 0.5, 0.25, log=False)
    lr = number(ask, "lr", 0.03, 0.1)
    return MethodConfig("shrink_and_tune", {"factor": factor, "lr": lr})
