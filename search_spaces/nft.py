"""Neural mask fine-tuning: the masks' learning rate, the pull toward few of them, their floor, and
how long.

Source: Karim et al. 2024, arXiv:2407.10052, and its authors' code: 0.05, 0.001, 0.8 and 1,000
steps.
Deviation: the profile ``small`` is ours, for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

BATCH = {"cifar10": 128, "imagenet": 128, "small": 32}
STEPS = {"cifar10": (1000, 300, 500), "imagenet": (2000, 1000, 5000), "small": (150,)}
LR = {"cifar10": (0.05, 0.02, 0.1), "imagenet": (0.05, 0.01), "small": (0.05, 0.1)}
SPARSITY = {"cifar10": (0.001, 0.0, 0.01), "imagenet": (0.001, 0.0), "small": (0.001,)}
FLOOR = {"cifar10": (0.8, 0.6), "imagenet": (0.8, 0.6), "small": (0.8, 0.6)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``nft`` for ``cifar10``, ``imagenet`` or ``small``."""
    found = {
        "batch": of_profile(BATCH, profile),
        "steps": int(number(ask, "steps", *STEPS[profile], integer=True)),
        "lr": number(ask, "lr", *LR[profile]),
        "sparsity": number(ask, "sparsity", *SPARSITY[profile], log=False),
        "floor": number(ask, "floor", *FLOOR[profile], log=False),
    }
    return MethodConfig("nft", found)
