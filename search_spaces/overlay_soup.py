"""Overlay soup: threshold of the pruning, opacity of the overlays, learning rate and length of a
member.

Source: experiments of ours on Adaptive-Blend, in docs/repairs.md.
Deviation: the share of the members is the curve's axis. The profile ``small`` is for digits of 16
pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

FIXED = {
    "cifar10": {"batch": 64, "members": 4},
    "imagenet": {"batch": 64, "members": 4},
    "small": {"batch": 32, "members": 3, "refresh": 500},
}
STEPS = {"cifar10": (50, 25, 100), "imagenet": (100, 50), "small": (40, 80)}
LR = {"cifar10": (0.1, 0.03), "imagenet": (0.01, 0.03), "small": (0.1, 0.03)}
U = {"cifar10": (2.7, 2.5, 3.0, 9.0), "imagenet": (3.0, 9.0), "small": (1.7, 9.0)}  # 9 cuts none
OPACITY = {"cifar10": (0.4, 0.2, 0.8), "imagenet": (0.4, 0.8), "small": (0.2, 0.4)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``overlay_soup`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    found = {
        "steps": int(number(ask, "steps", *STEPS[profile], integer=True)),
        "lr": number(ask, "lr", *LR[profile]),
        "u": number(ask, "u", *U[profile], log=False),
        "opacity": number(ask, "opacity", *OPACITY[profile]),
    }
    return MethodConfig("overlay_soup", {**fixed, **found})
