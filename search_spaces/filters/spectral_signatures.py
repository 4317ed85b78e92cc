"""Spectral signatures: the share of poison that is assumed, what is removed, and the scale.

Source: Tran, Li, Madry 2018, arXiv:1811.00636; BaDLoss's setting first (a tenth, of each class).
Deviation: the paper is told the true share; the range of what is assumed is ours.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

ASSUMED = {
    "cifar10": (0.1, 0.01, 0.03),
    "imagenet": (0.1, 0.01, 0.03),
    "small": (0.1, 0.03, 0.2),
}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``spectral_signatures`` for ``cifar10``, ``imagenet`` or ``small``."""
    rule = option(ask, "rule", "share_of_class", "count_in_each_class", "percentile")
    found: dict[str, Scalar] = {
        "assumed": number(ask, "assumed", *of_profile(ASSUMED, profile)),
        "scale": option(ask, "scale", "raw", "class"),
    }
    return MethodConfig("spectral_signatures", {"rule": rule, **found})
