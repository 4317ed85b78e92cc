"""Pivotal Tuning: learning rate, latent term, and pull to the given weights.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Table V (the first point of the branch
``constant``) and section A-E (lambda_S from 0.1 to 0.001 on CIFAR-10, 1e-2 to 1e-6 on ImageNet;
learning rates 0.1 to 1e-3 and 1e-3 to 1e-6; sgd or adam).
Deviation: the branch whose learning rate falls, which comes first, is ours. The stated range of
lambda_R, 1e6 to 2e7, holds neither of Table V's optima (20,000 and 150,000); kappa = 2 lambda_R /
parameters goes from 3.6e-3, the optimum on CIFAR-10, to 1. Adam has a branch of its own with small
learning rates only, as at 0.01 and above it wrecks a trained model. The profile ``small`` is ours,
for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from search_spaces._schedules import descent
from trials.spec import MethodConfig, Scalar

FIXED = {
    "cifar10": {"steps": 2000, "batch": 128},
    "imagenet": {"steps": 10000, "batch": 128},
    "small": {"steps": 150, "batch": 32},
}
OPTIMIZERS = {"cifar10": ("sgd", "adam"), "imagenet": ("sgd", "adam"), "small": ("sgd",)}
LR = {
    "cifar10": (0.01, 0.03, 0.003, 0.001),
    "imagenet": (5e-4, 1e-3, 1e-4, 1e-5),
    "small": (0.1, 0.05, 0.03),
}
LR_ADAM = {"cifar10": (1e-3, 3e-4), "imagenet": (1e-4, 1e-5), "small": (1e-3,)}
LAMBDA_S = {
    "cifar10": (0.05, 0.1, 0.01, 0.001),
    "imagenet": (1e-5, 1e-2, 1e-3, 1e-4, 1e-6),
    "small": (0.05, 0.1, 0.02),
}
KAPPA = {
    "cifar10": (3.58e-3, 3.6e-2, 0.18, 1.0),
    "imagenet": (2.57e-2, 3.6e-3, 0.18, 1.0),
    "small": (3.6e-3, 3.6e-2),
}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``pivotal_tuning`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    optimizer = option(ask, "optimizer", *OPTIMIZERS[profile])
    rates = {"lr": number(ask, "lr_adam", *LR_ADAM[profile])} if optimizer == "adam" else {}
    found: dict[str, Scalar] = {
        "optimizer": optimizer,
        **(rates or descent(ask, profile, fixed["steps"], *LR[profile])),
        "lambda_s": number(ask, "lambda_s", *LAMBDA_S[profile]),
        "kappa": number(ask, "kappa", *KAPPA[profile]),
    }
    return MethodConfig("pivotal_tuning", {**fixed, **found})
