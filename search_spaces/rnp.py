"""Reconstructive neuron pruning: both learning rates, where unlearning stops, and how long masks
are learnt.

Source: Li et al. 2023, arXiv:2305.14876, and its authors' code: 0.01 until an accuracy of 0.2;
masks at 0.2 times a loss weight of 0.2 for 20 epochs.
Deviation: the threshold is the curve's axis. The profile ``small`` is ours, for digits of 16 pixels
and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

FIXED = {
    "cifar10": {"batch": 128, "most": 0.2},
    "imagenet": {"batch": 128, "most": 0.2},
    "small": {"batch": 32, "most": 0.5},
}
UNLEARN_LR = {"cifar10": (0.01, 0.003, 0.03), "imagenet": (0.01, 0.001), "small": (0.01, 0.003)}
STOP = {"cifar10": (0.2, 0.1, 0.3), "imagenet": (0.02, 0.01), "small": (0.2,)}
RECOVER_LR = {"cifar10": (0.04, 0.01, 0.1), "imagenet": (0.04, 0.01), "small": (0.04, 0.1)}
RECOVER_STEPS = {"cifar10": (300, 150, 600), "imagenet": (600, 300), "small": (100, 50)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``rnp`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    found = {
        "unlearn_lr": number(ask, "unlearn_lr", *UNLEARN_LR[profile]),
        "stop": number(ask, "stop", *STOP[profile]),
        "recover_lr": number(ask, "recover_lr", *RECOVER_LR[profile]),
        "recover_steps": int(number(ask, "recover_steps", *RECOVER_STEPS[profile], integer=True)),
    }
    return MethodConfig("rnp", {**fixed, **found})
