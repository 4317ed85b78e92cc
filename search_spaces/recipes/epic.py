"""EPIC: when rows are first left out, how often, and the share of medoids.

Source: Yang, Liu, Mirzasoleiman 2022, arXiv:2210.09671, and the settings of its code for gradient
matching (every 2 epochs after 10, or every 5 after 1; a share of 0.1 to 0.3).
Deviation: all combinations of them are tried; the profile ``small`` is ours, for trainings of 12
epochs.
"""

from search_spaces._ask import Ask, number
from search_spaces.recipes._schedule import schedule
from trials.spec import MethodConfig

BEGIN = {"cifar10": (10, 1), "small": (5, 1)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``epic`` for ``cifar10`` or ``small``."""
    base = schedule(profile)
    found = {
        "begin": number(ask, "begin", *BEGIN[profile], integer=True),
        "every": number(ask, "every", 2, 5, integer=True),
        "share": number(ask, "share", 0.1, 0.2, 0.3, log=False),
    }
    return MethodConfig("epic", {**base, **found})
