"""Top class: the number of noise images.

Source: an example for the documentation.
Deviation: the same values for every profile.
"""

from search_spaces._ask import Ask, number
from trials.spec import MethodConfig


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of the detector ``top_class``."""
    return MethodConfig(
        "top_class", {"images": int(number(ask, "images", 256, 1024, integer=True))}
    )
