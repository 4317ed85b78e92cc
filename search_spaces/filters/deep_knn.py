"""Deep k-NN: the share of poison that is assumed, neighbours for it, and the rule.

Source: Peri et al. 2020, arXiv:1909.13374, as published with Sleeper Agent (twice the expected
poison).
Deviation: the range of what is assumed is ours; the profile ``small`` is, for few images a class.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

ASSUMED = {
    "cifar10": (0.01, 0.001, 0.05),
    "imagenet": (0.01, 0.001, 0.05),
    "small": (0.01, 0.005, 0.05),
}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``deep_knn`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "assumed": number(ask, "assumed", *of_profile(ASSUMED, profile)),
        "factor": number(ask, "factor", 2.0, 1.0, 4.0),
        "rule": option(ask, "rule", "majority", "plurality"),
    }
    return MethodConfig("deep_knn", found)
