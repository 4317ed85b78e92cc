"""Neural Attention Distillation: learning rate, teacher's steps, power and weight of the attention.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Table V (the first point of the branch
``constant``) and section A-E (1,000 to 2,000 teacher steps, p from 2 to 4, lambda_at from 100 to
10,000; learning rates 0.1 to 1e-3 on CIFAR-10, 1e-3 to 1e-6 on ImageNet).
Deviation: the branch whose learning rate falls, which comes first, is ours. The optima of the
teacher's steps and of p lie on the edge of their ranges. One learning rate serves the student and
its teacher, as Table V has only one. The optimizer is nominally searched too; here it is sgd, the
optimum in every column. The profile ``small`` is ours, for digits of 16 pixels and runs of seconds:
with fewer places to average over, the same lambda_at weighs more.
"""

from search_spaces._ask import Ask, number, of_profile
from search_spaces._schedules import descent
from trials.spec import MethodConfig, Scalar

FIXED = {
    "cifar10": {"steps": 2000, "batch": 128},
    "imagenet": {"steps": 8000, "batch": 128},
    "small": {"steps": 150, "batch": 32},
}
LR = {"cifar10": (0.01, 0.1, 0.001), "imagenet": (5e-4, 1e-3, 1e-4), "small": (0.1, 0.03, 0.01)}
TEACHER_STEPS = {"cifar10": (1000, 2000), "imagenet": (1000, 2000), "small": (100,)}
POWER = {"cifar10": (2, 3, 4), "imagenet": (2, 3, 4), "small": (2, 4)}
LAMBDA_AT = {
    "cifar10": (1000.0, 100.0, 10000.0),
    "imagenet": (1000.0, 100.0, 10000.0),
    "small": (100.0, 10.0, 1000.0),
}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``nad`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    both = descent(ask, profile, fixed["steps"], *LR[profile])
    found: dict[str, Scalar] = {
        "teacher_steps": int(number(ask, "teacher_steps", *TEACHER_STEPS[profile], integer=True)),
        "power": int(number(ask, "power", *POWER[profile], integer=True)),
        "lambda_at": number(ask, "lambda_at", *LAMBDA_AT[profile]),
    }
    return MethodConfig("nad", {**fixed, **both, "teacher_lr": both["lr"], **found})
