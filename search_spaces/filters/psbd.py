"""PSBD: how much of the predictions the dropout rate has to change, passes, and where units are
dropped.

Source: Li, Yang, Zhang 2024, arXiv:2406.05826 (80 %, three passes, a quarter of the clean images).
Deviation: the paper gives no ranges; these are ours, the same for every profile.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

PASSES = {"cifar10": (3, 10), "imagenet": (3, 10), "small": (3, 10)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``psbd`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "quantile": number(ask, "quantile", 0.25, 0.1, 0.5, log=False),
        "shifted": number(ask, "shifted", 0.8, 0.5, log=False),
        "passes": number(ask, "passes", *of_profile(PASSES, profile), integer=True),
        "dropped": option(ask, "dropped", "stages", "last_stage"),
    }
    return MethodConfig("psbd", found)
