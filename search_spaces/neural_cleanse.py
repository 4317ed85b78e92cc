"""Neural Cleanse: learning rate, weight of the triggers' norm, and whose triggers are unlearned.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Table V (the first point of the branch
``constant``) and section A-E (lambda_N from 2e-2 to 1e-6; learning rates 0.1 to 1e-3 on CIFAR-10,
1e-3 to 1e-6 on ImageNet).
Deviation: the branch whose learning rate falls, which comes first, is ours. Table V's optimum on
CIFAR-10, lambda_N = 0.02, lies on the edge of the range; the authors' preliminary code summed the
norm over its batch of 128, so that it ran what is 2.56 here, which is not in the range. Their
``stamp`` is ``all``, Algorithm 6's ``smallest``: both are tried. The optimizer is nominally
searched too; here it is sgd, the optimum in every column. The profile ``small`` is ours, for digits
of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from search_spaces._schedules import descent
from trials.spec import MethodConfig, Scalar

FIXED = {
    "cifar10": {"steps": 1000, "batch": 128, "steps_per_class": 100},
    "imagenet": {"steps": 3000, "batch": 128, "steps_per_class": 200},
    "small": {"steps": 150, "batch": 32, "steps_per_class": 50},
}
LR = {
    "cifar10": (0.001, 0.1, 0.03, 0.01),
    "imagenet": (5e-4, 1e-3, 1e-4, 1e-5),
    "small": (0.03, 0.1, 0.01),
}
LAMBDA_N = {
    "cifar10": (2e-2, 2e-3, 2e-4, 2e-5, 1e-6),
    "imagenet": (1e-5, 2e-2, 2e-3, 2e-4, 1e-6),
    "small": (0.02, 0.2),
}
INVERSION_LR = {"cifar10": 0.01, "imagenet": 0.01, "small": 0.1}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``neural_cleanse`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    found: dict[str, Scalar] = {
        **descent(ask, profile, fixed["steps"], *LR[profile]),
        "lambda_n": number(ask, "lambda_n", *LAMBDA_N[profile]),
        "stamp": option(ask, "stamp", "smallest", "all"),
        "inversion_lr": INVERSION_LR[profile],
    }
    return MethodConfig("neural_cleanse", {**fixed, **found})
