"""Plain fine-tuning: the learning rate, for the control beside the weight-decay column.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Table V (weight decay's steps and learning rate)
and section A-E (learning rates 0.1 to 1e-3 on CIFAR-10, 1e-3 to 1e-6 on ImageNet).
Deviation: the branch whose learning rate falls, which comes first, is ours. The control is in
neither; it takes the weight-decay space with lambda_w = 0. The profile ``small`` is ours, for
digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, of_profile
from search_spaces._schedules import descent
from trials.spec import MethodConfig

FIXED = {
    "cifar10": {"steps": 1000, "batch": 128},
    "imagenet": {"steps": 5000, "batch": 128},
    "small": {"steps": 150, "batch": 32},
}
LR = {
    "cifar10": (0.001, 0.1, 0.03, 0.01, 0.003),
    "imagenet": (5e-4, 1e-3, 1e-4, 1e-5, 1e-6),
    "small": (0.1, 0.03, 0.2),
}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Learning rates of ``fine_tuning`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    return MethodConfig(
        "fine_tuning", {**fixed, **descent(ask, profile, fixed["steps"], *LR[profile])}
    )
