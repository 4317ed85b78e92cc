"""Sharpness-aware fine-tuning: radius, learning rate, length, and what is learnt from.

Source: Zhu et al. 2023, arXiv:2304.11823: radius 2 and smoothing 0.1 on CIFAR-10, 8 and 0 on GTSRB
and Tiny ImageNet, learning rate 0.01.
Deviation: steps instead of 100 epochs. The profile ``small`` is ours, for digits of 16 pixels and
runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

BATCH = {"cifar10": 128, "imagenet": 128, "small": 32}
STEPS = {"cifar10": (1000, 500, 2000), "imagenet": (5000, 2000), "small": (150, 80)}
LR = {"cifar10": (0.01, 0.003, 0.03, 0.1), "imagenet": (0.001, 0.003), "small": (0.1, 0.03)}
RADIUS = {"cifar10": (2.0, 0.5, 1.0, 4.0, 8.0), "imagenet": (8.0, 2.0), "small": (1.0, 0.3, 3.0)}
DISTILL = {"cifar10": (0.0, 0.5), "imagenet": (0.0, 0.5), "small": (0.0,)}
SMOOTHING = {"cifar10": 0.1, "imagenet": 0.0, "small": 0.1}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``ft_sam`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = {"batch": of_profile(BATCH, profile), "smoothing": SMOOTHING[profile]}
    steps = int(number(ask, "steps", *STEPS[profile], integer=True))
    found = {
        "lr": number(ask, "lr", *LR[profile]),
        "radius": number(ask, "radius", *RADIUS[profile]),
        "distill": number(ask, "distill", *DISTILL[profile], log=False),
    }
    return MethodConfig("ft_sam", {**fixed, "steps": steps, **found})
