"""SCAn: directions of the latents, the images that give the covariances, and when a class is
suspect.

Source: Tang et al. 2021, arXiv:1908.00686 (trusted images, e^2).
Deviation: dimensions and the values around the published one are ours, the same for every profile
but for fewer dimensions of ``small``.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

DIMENSIONS = {"cifar10": (64, 16), "imagenet": (64, 16), "small": (16, 48)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``scan`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "dimensions": number(ask, "dimensions", *of_profile(DIMENSIONS, profile), integer=True),
        "variation": option(ask, "variation", "trusted", "rows"),
        "flagged": number(ask, "flagged", 7.39, 3.0, log=False),
    }
    return MethodConfig("scan", found)
