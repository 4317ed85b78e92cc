"""Friendly noise: when it is made, its bound and weight, and the random noise besides.

Source: Liu, Yang, Mirzasoleiman 2022, arXiv:2208.10224, and its code (after 5 epochs, at most 16
levels, weight 1, random noise of 8 levels: the first point).
Deviation: the other values are ours; so is the profile ``small``, for trainings of 12 epochs.
"""

from search_spaces._ask import Ask, number
from search_spaces.recipes._schedule import schedule
from trials.spec import MethodConfig

BEGIN = {"cifar10": (5, 10), "small": (3, 6)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``friendly_noise`` for ``cifar10`` or ``small``."""
    base = schedule(profile)
    found = {
        "begin": number(ask, "begin", *BEGIN[profile], integer=True),
        "clamp": number(ask, "clamp", 16, 8, 32, integer=True),
        "mu": number(ask, "mu", 1.0, 0.3, 3.0),
        "random": number(ask, "random", 8, 0, 16, integer=True, log=False),
    }
    return MethodConfig("friendly_noise", {**base, **found})
