"""Adversarial training: how far images are moved, and in how many steps.

Source: Geiping et al. 2021, arXiv:2009.02276 (four steps, as far as the attack's perturbation);
Madry et al. 2018, arXiv:1706.06083 (seven steps).
Deviation: one step is ours, as is half of that size; so is the profile ``small``, for digits, where
attacks need larger perturbations.
"""

from search_spaces._ask import Ask, number
from search_spaces.recipes._schedule import schedule
from trials.spec import MethodConfig

EPSILON = {"cifar10": (16, 8), "small": (32, 16, 64)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``adversarial_training`` for ``cifar10`` or ``small``."""
    base = schedule(profile)
    found = {
        "epsilon": number(ask, "epsilon", *EPSILON[profile], integer=True),
        "steps": number(ask, "steps", 4, 1, 7, integer=True),
    }
    return MethodConfig("adversarial_training", {**base, **found})
