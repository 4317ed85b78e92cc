"""Cognitive distillation: what fills, weights of the mask's size and roughness, and steps.

Source: Huang et al. 2023, arXiv:2301.10908 (0.01, 10, a hundred steps at 0.1); BaDLoss's 15 %.
Deviation: values around the published ones are ours; ``small`` takes fewer steps.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

STEPS = {"cifar10": (100, 50), "imagenet": (100, 50), "small": (30, 60)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``cognitive_distillation`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "removed": number(ask, "removed", 0.15, 0.05),
        "fill": option(ask, "fill", "colour", "mean"),
        "gamma": number(ask, "gamma", 0.01, 0.001, 0.1),
        "beta": number(ask, "beta", 10.0, 1.0, 100.0),
        "steps": number(ask, "steps", *of_profile(STEPS, profile), integer=True),
        "lr": 0.1,
    }
    return MethodConfig("cognitive_distillation", found)
