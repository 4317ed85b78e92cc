"""Weight decay: learning rate and lambda_w.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Table V (the first point of the branch
``constant``) and section A-E (lambda_w from 0.01 to 1e-5 on both data sets; learning rates 0.1 to
1e-3 on CIFAR-10, 1e-3 to 1e-6 on ImageNet).
Deviation: the branch whose learning rate falls, which comes first, is ours. Table V's optimum on
CIFAR-10, lambda_w = 0.01, lies on the edge of the stated range. The optimizer is nominally searched
too; here it is sgd, the optimum in every column and the only one that the authors' preliminary code
can run. Its quirk, lr = lambda_w, is the point (0.01, 0.01) on CIFAR-10 and (1e-3, 1e-3) on
ImageNet. The profile ``small`` is ours, for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
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
LAMBDA_W = {
    "cifar10": (0.01, 0.003, 1e-3, 1e-4, 1e-5),
    "imagenet": (0.001, 0.01, 1e-4, 1e-5),
    "small": (0.003, 0.001, 0.01),
}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``weight_decay`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    found = descent(ask, profile, fixed["steps"], *LR[profile])
    return MethodConfig(
        "weight_decay", {**fixed, **found, "lambda_w": number(ask, "lambda_w", *LAMBDA_W[profile])}
    )
