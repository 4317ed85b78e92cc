"""Distance-driven detoxification: push, learning rate, length, first classifier, and what is learnt
from.

Source: Wei et al. 2025, arXiv:2411.09585: lambda 0.5, epsilon 0.1, learning rate 0.01, 100 epochs.
Deviation: ``push`` and the learning rate are the paper's in the units of this defense. The profile
``small`` is ours, for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

BATCH = {"cifar10": 128, "imagenet": 128, "small": 32}
STEPS = {"cifar10": (500, 200, 1000), "imagenet": (2000, 1000), "small": (150, 80)}
LR = {"cifar10": (0.01, 0.003, 0.03), "imagenet": (0.003, 0.001), "small": (0.03, 0.1)}
PUSH = {"cifar10": (12.0, 4.0, 36.0), "imagenet": (12.0, 4.0), "small": (12.0, 4.0)}
DISTILL = {"cifar10": (0.0, 1.0), "imagenet": (0.0, 1.0), "small": (0.0,)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``d3`` for ``cifar10``, ``imagenet`` or ``small``."""
    batch = of_profile(BATCH, profile)
    steps = int(number(ask, "steps", *STEPS[profile], integer=True))
    found: dict[str, Scalar] = {
        "lr": number(ask, "lr", *LR[profile]),
        "push": number(ask, "push", *PUSH[profile]),
        "distill": number(ask, "distill", *DISTILL[profile], log=False),
        "first": option(ask, "first", "uniform", "opposite"),
    }
    return MethodConfig("d3", {"batch": batch, "steps": steps, **found})
