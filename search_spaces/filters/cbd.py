"""CBD: epochs of both models, and how much the critic counts.

Source: Zhang et al. 2023, arXiv:2303.06818 (5 and 100 epochs at 0.1, a weight of 0.01).
Deviation: values around the published ones are ours; ``small`` trains for fewer epochs.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig, Scalar

EARLY = {"cifar10": (5, 3), "imagenet": (5, 3), "small": (5, 3)}
EPOCHS = {"cifar10": (100, 30), "imagenet": (100, 30), "small": (8, 16)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``cbd`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "early": number(ask, "early", *of_profile(EARLY, profile), integer=True),
        "epochs": number(ask, "epochs", *EPOCHS[profile], integer=True),
        "critic": number(ask, "critic", 0.01, 0.1),
        "lr": 0.1,
        "batch": 64,
    }
    return MethodConfig("cbd", found)
