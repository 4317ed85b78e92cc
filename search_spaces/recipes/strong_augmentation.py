"""Stronger augmentation: which, and how much of it.

Source: Borgnia et al. 2021, arXiv:2011.09527 (mixup, cutmix, cutout and maxup against poison);
Zhang et al. 2018, arXiv:1710.09412 (alpha from 0.2 for mixup), Yun et al. 2019, arXiv:1905.04899
(alpha 1), DeVries & Taylor 2017, arXiv:1708.04552 (a square of half the image's side).
Deviation: a square of a quarter is ours, and so is the schedule of the profile ``small``.
"""

from search_spaces._ask import Ask, number, option
from search_spaces.recipes._schedule import schedule
from trials.spec import MethodConfig

SQUARES = ("cutout", "maxup")


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``strong_augmentation`` for ``cifar10`` or ``small``."""
    base = schedule(profile)
    kind = option(ask, "kind", "mixup", "cutmix", *SQUARES)
    strength = (
        number(ask, "strength_square", 0.5, 0.25)
        if kind in SQUARES
        else number(ask, "strength_alpha", 1.0, 0.2)
    )
    return MethodConfig("strong_augmentation", {**base, "kind": kind, "strength": strength})
