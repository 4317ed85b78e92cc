"""Feature shift tuning: length, learning rate, push away from the old classifier, and what is
learnt from.

Source: Min et al. 2023, arXiv:2310.01875, section 5 (10 epochs, learning rate 0.01, alpha 0.2 on
CIFAR-10).
Deviation: the first point is ours (soft outputs of the given model, learning rate 0.03). The
paper's form, labels at 0.01, is in the grid; its alpha, for a head of norm 5.9, is ours over 35.
The profile ``small`` is ours, for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

BATCH = {"cifar10": 64, "imagenet": 64, "small": 32}
STEPS = {"cifar10": (200, 100, 400), "imagenet": (1000, 500, 2000), "small": (150, 80)}
LR = {
    "cifar10": (0.03, 0.01, 0.05, 0.1),
    "imagenet": (0.003, 0.001, 0.01),
    "small": (0.03, 0.1, 0.01),
}
ALPHA = {"cifar10": (3.5, 1.0, 10.0), "imagenet": (1.0, 3.5), "small": (3.5, 1.0)}
DISTILL = {"cifar10": (1.0, 0.5, 0.0), "imagenet": (1.0, 0.0), "small": (1.0, 0.0)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``fst`` for ``cifar10``, ``imagenet`` or ``small``."""
    batch = of_profile(BATCH, profile)
    steps = int(number(ask, "steps", *STEPS[profile], integer=True))
    found = {
        "lr": number(ask, "lr", *LR[profile]),
        "alpha": number(ask, "alpha", *ALPHA[profile]),
        "distill": number(ask, "distill", *DISTILL[profile], log=False),
    }
    return MethodConfig("fst", {"batch": batch, "steps": steps, **found})
