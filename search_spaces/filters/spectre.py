"""SPECTRE: the share of poison that is assumed, directions, and what whitens them.

Source: Hayase et al. 2021, arXiv:2104.11315 (up to 64 directions, the best number of them, an alpha
of 4).
Deviation: the paper is told the true share; the range of what is assumed is ours. Profile ``small``
has fewer directions.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

ASSUMED = {"cifar10": (0.01, 0.03), "imagenet": (0.01, 0.03), "small": (0.03, 0.1)}
DIMENSIONS = {"cifar10": (64, 2), "imagenet": (64, 2), "small": (16, 2)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``spectre`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "assumed": number(ask, "assumed", *of_profile(ASSUMED, profile)),
        "dimensions": number(ask, "dimensions", *DIMENSIONS[profile], integer=True),
        "chosen": option(ask, "chosen", "best", "most"),
        "covariance": option(ask, "covariance", "robust", "trusted"),
        "alpha": number(ask, "alpha", 4.0, 1.0),
    }
    return MethodConfig("spectre", found)
