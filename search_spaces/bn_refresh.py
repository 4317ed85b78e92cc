"""BatchNorm refresh: how many batches to forward.

Source: a control, in no table; the steps are those of Fine-Pruning in Table V, whose released code
only did this.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

STEPS = {"cifar10": (1000, 100), "imagenet": (5000, 500), "small": (100, 20)}
BATCH = {"cifar10": 128, "imagenet": 128, "small": 32}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Steps of ``bn_refresh`` for ``cifar10``, ``imagenet`` or ``small``."""
    steps = number(ask, "steps", *of_profile(STEPS, profile), integer=True)
    return MethodConfig("bn_refresh", {"steps": int(steps), "batch": BATCH[profile]})
