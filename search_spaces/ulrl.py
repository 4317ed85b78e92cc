"""Unlearn, then relearn: length, learning rate, push away from the old weights, and what is
suspected.

Source: Min et al. 2024, arXiv:2405.14781, and its authors' code: 0.005, 0.7 and 3.5 for 20 epochs
on CIFAR-10.
Deviation: steps instead of epochs; labels and soft outputs of the given model are both in the grid.
The profile ``small`` is ours, for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

BATCH = {"cifar10": 128, "imagenet": 128, "small": 32}
STOP = {"cifar10": 0.2, "imagenet": 0.02, "small": 0.2}
STEPS = {"cifar10": (400, 200), "imagenet": (1000, 2000), "small": (150,)}
LR = {
    "cifar10": (0.005, 0.01, 0.03),
    "imagenet": (0.001, 0.003),
    "small": (0.01, 0.03),
}
PUSH = {"cifar10": (0.7, 0.3, 1.0, 3.5), "imagenet": (0.7, 3.5), "small": (0.7, 3.5)}
DEVIATIONS = {"cifar10": (3.5, 2.5), "imagenet": (3.5, 2.5), "small": (3.5, 2.5)}
DISTILL = {"cifar10": (0.0, 1.0), "imagenet": (0.0, 1.0), "small": (0.0, 1.0)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``ulrl`` for ``cifar10``, ``imagenet`` or ``small``."""
    found = {
        "batch": of_profile(BATCH, profile),
        "stop": STOP[profile],
        "steps": int(number(ask, "steps", *STEPS[profile], integer=True)),
        "lr": number(ask, "lr", *LR[profile]),
        "push": number(ask, "push", *PUSH[profile]),
        "deviations": number(ask, "deviations", *DEVIATIONS[profile], log=False),
        "distill": number(ask, "distill", *DISTILL[profile], log=False),
    }
    return MethodConfig("ulrl", found)
