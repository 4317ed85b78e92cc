"""Far from class: the power of the distance.

Source: none, an example.
Deviation: none.
"""

from search_spaces._ask import Ask, number
from trials.spec import MethodConfig


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``far_from_class``, the same for every profile."""
    return MethodConfig("far_from_class", {"power": number(ask, "power", 2.0, 1.0)})
