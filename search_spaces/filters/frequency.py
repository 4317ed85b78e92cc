"""Frequency detector: from what probability on a row is suspect, what is put into images, and for
how long the network is trained.

Source: Zeng et al. 2021, arXiv:2104.03413 (ten epochs at 0.05); BaDLoss's corruptions first.
Deviation: values around the published ones are ours; ``small`` has fewer epochs, for runs of
seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

EPOCHS = {"cifar10": (10, 5), "imagenet": (10, 5), "small": (4, 10)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``frequency`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "probability": number(ask, "probability", 0.5, 0.9, log=False),
        "corruptions": option(ask, "corruptions", "patches", "all"),
        "copies": number(ask, "copies", 1, 8, integer=True),
        "epochs": number(ask, "epochs", *of_profile(EPOCHS, profile), integer=True),
        "lr": number(ask, "lr", 0.05, 0.5),
    }
    return MethodConfig("frequency", found)
