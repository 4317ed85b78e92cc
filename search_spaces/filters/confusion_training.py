"""Confusion training: when a class is cleaned, and how long the rounds are.

Source: Qi et al. 2023, arXiv:2205.13616 (six rounds of 100 epochs and 6,000 steps, a likelihood
ratio of 2).
Deviation: values around the published ones are ours; ``small`` has short rounds, for runs of
seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig, Scalar

TRAINING: dict[str, dict[str, Scalar]] = {
    "cifar10": {"batch": 64, "confused": 32},
    "imagenet": {"batch": 64, "confused": 32},
    "small": {"batch": 32, "confused": 32},
}
ROUNDS = {"cifar10": (6, 4), "imagenet": (6, 4), "small": (2, 6)}
EPOCHS = {"cifar10": (100, 40), "imagenet": (100, 40), "small": (6, 20)}
STEPS = {"cifar10": (6000, 2000), "imagenet": (6000, 2000), "small": (100, 200)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``confusion_training`` for ``cifar10``, ``imagenet`` or ``small``."""
    found: dict[str, Scalar] = {
        **of_profile(TRAINING, profile),
        "ratio": number(ask, "ratio", 2.0, 1.2, log=False),
        "rounds": number(ask, "rounds", *ROUNDS[profile], integer=True),
        "epochs": number(ask, "epochs", *EPOCHS[profile], integer=True),
        "steps": number(ask, "steps", *STEPS[profile], integer=True),
    }
    return MethodConfig("confusion_training", found)
