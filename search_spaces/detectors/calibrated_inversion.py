"""Calibrated trigger inversion: weight of the repaired model, steps, learning rate, and how a class
is scored.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 4 (a weight of 1) and the authors'
preliminary code (0.5, lr 0.01, batches of 128; 50 steps by default); the first point's steps are
those of Neural Cleanse in their Table V.
Deviation: the paper gives no ranges; these are ours. A weight of 0 is inversion without
calibration, whose triggers are still scored on both models. The rule as printed, whose sign is
wrong, is left to ablations by hand. Batches for ImageNet are of 32 a class. The profile ``small``
is ours, for digits and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

BATCH = {"cifar10": 128, "imagenet": 32, "small": 16}
STEPS = {"cifar10": (100, 50, 200), "imagenet": (200, 50, 100), "small": (40, 80)}
LR = {"cifar10": (0.01, 0.03), "imagenet": (0.01, 0.03), "small": (0.01, 0.03)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``calibrated_inversion`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        "batch": of_profile(BATCH, profile),
        "weight": number(ask, "weight", 0.5, 1.0, 0.0, log=False),
        "steps": number(ask, "steps", *STEPS[profile], integer=True),
        "lr": number(ask, "lr", *LR[profile]),
        "rule": option(ask, "rule", "difference", "sum"),
    }
    return MethodConfig("calibrated_inversion", found)
