"""Shared adversarial unlearning: radius, learning rate, weights of both terms, and length.

Source: Wei et al. 2023, arXiv:2307.10562, and its authors' code: radius 0.2, Adam at 1e-4, five
inner steps.
Deviation: steps instead of 100 passes. The profile ``small`` is ours, for digits of 16 pixels and
runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig, Scalar

FIXED: dict[str, dict[str, Scalar]] = {
    "cifar10": {"batch": 128},
    "imagenet": {"batch": 64},
    "small": {"batch": 32},
}
STEPS = {"cifar10": (500, 250, 1000), "imagenet": (1000, 500), "small": (80, 40)}
LR = {"cifar10": (1e-4, 3e-5, 3e-4), "imagenet": (3e-5, 1e-5), "small": (3e-3, 1e-3)}
RADIUS = {"cifar10": (0.2, 0.1, 0.3), "imagenet": (0.2, 0.1), "small": (0.6, 0.3)}
UNLEARN = {"cifar10": (1.0, 0.3, 3.0), "imagenet": (1.0,), "small": (1.0,)}
INNER = {"cifar10": (5, 2), "imagenet": (2,), "small": (5,)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``sau`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    found: dict[str, Scalar] = {
        "steps": int(number(ask, "steps", *STEPS[profile], integer=True)),
        "inner_steps": int(number(ask, "inner_steps", *INNER[profile], integer=True)),
        "lr": number(ask, "lr", *LR[profile]),
        "radius": number(ask, "radius", *RADIUS[profile]),
        "unlearn": number(ask, "unlearn", *UNLEARN[profile]),
    }
    return MethodConfig("sau", {**fixed, **found})
