"""Two-stage defense: share of filters and of their weights that is cut, and how it is tuned after.

Source: Lin et al. 2024, arXiv:2405.20291, and its authors' code: 1 to 90 % of filters, 0.7 of their
weights, radius 0.05, 20 epochs at 0.01.
Deviation: steps instead of epochs; labels and soft outputs of the given model are both in the grid.
The profile ``small`` is ours, for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

FIXED = {
    "cifar10": {"batch": 256, "stop": 0.1},
    "imagenet": {"batch": 128, "stop": 0.01},
    "small": {"batch": 32, "stop": 0.1},
}
STEPS = {"cifar10": (200, 400), "imagenet": (1000, 2000), "small": (150,)}
LR = {"cifar10": (0.01, 0.03), "imagenet": (0.001, 0.003), "small": (0.03, 0.1)}
UNLEARN_LR = {"cifar10": (1e-4, 1e-3), "imagenet": (1e-4, 1e-3), "small": (1e-3,)}
SHARE = {
    "cifar10": (0.15, 0.01, 0.05, 0.3, 0.5, 0.9),
    "imagenet": (0.05, 0.01, 0.15, 0.3),
    "small": (0.15, 0.3, 0.5),
}
PART = {"cifar10": (0.7, 0.5, 0.9), "imagenet": (0.7, 0.5), "small": (0.7,)}
RADIUS = {"cifar10": (0.05, 0.1), "imagenet": (0.05, 0.1), "small": (0.05,)}
DISTILL = {"cifar10": (0.0, 1.0), "imagenet": (0.0, 1.0), "small": (0.0, 1.0)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``tsbd`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    found = {
        "steps": int(number(ask, "steps", *STEPS[profile], integer=True)),
        "lr": number(ask, "lr", *LR[profile]),
        "unlearn_lr": number(ask, "unlearn_lr", *UNLEARN_LR[profile]),
        "share": number(ask, "share", *SHARE[profile]),
        "part": number(ask, "part", *PART[profile], log=False),
        "radius": number(ask, "radius", *RADIUS[profile]),
        "distill": number(ask, "distill", *DISTILL[profile], log=False),
    }
    return MethodConfig("tsbd", {**fixed, **found})
