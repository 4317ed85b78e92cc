"""Fine-Pruning: learning rate and share of channels cut.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Table V (the first point of the branch
``constant``) and section A-E (rho from 0.5 to 0.99; learning rates 0.1 to 1e-3 on CIFAR-10, 1e-3 to
1e-6 on ImageNet).
Deviation: the branch whose learning rate falls, which comes first, is ours. The optimizer is
nominally searched too; here it is sgd, the optimum in every column. rho is drawn evenly, not in the
logarithm. The profile ``small`` is ours, for digits of 16 pixels and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from search_spaces._schedules import descent
from trials.spec import MethodConfig

FIXED = {
    "cifar10": {"steps": 1000, "batch": 128, "ranking_batches": 10},
    "imagenet": {"steps": 5000, "batch": 128, "ranking_batches": 10},
    "small": {"steps": 150, "batch": 32, "ranking_batches": 10},
}
LR = {
    "cifar10": (0.001, 0.01, 0.003, 0.03),
    "imagenet": (5e-4, 1e-3, 1e-4, 1e-5),
    "small": (0.03, 0.1, 0.01),
}
RHO = {
    "cifar10": (0.96, 0.5, 0.7, 0.8, 0.9, 0.99),
    "imagenet": (0.73, 0.5, 0.6, 0.8, 0.9, 0.96, 0.99),
    "small": (0.9, 0.7, 0.8, 0.85),
}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``fine_pruning`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    found = descent(ask, profile, fixed["steps"], *LR[profile])
    return MethodConfig(
        "fine_pruning", {**fixed, **found, "rho": number(ask, "rho", *RHO[profile], log=False)}
    )
