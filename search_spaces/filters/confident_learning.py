"""Confident learning: the form of the score, and folds.

Source: Northcutt, Jiang, Chuang 2021, arXiv:1911.00068 (four or five folds).
Deviation: the profile ``small`` is ours, of fewer folds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

FOLDS = {"cifar10": (5, 3, 10), "imagenet": (5, 3, 10), "small": (3, 5)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``confident_learning`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "form": option(ask, "form", "self_confidence", "margin"),
        "folds": number(ask, "folds", *of_profile(FOLDS, profile), integer=True),
    }
    return MethodConfig("confident_learning", found)
