"""Training with differential privacy: how private it is, and the clip of an image's gradient.

Source: Abadi et al. 2016, arXiv:1607.00133 (epsilon 2 and 8, delta 1e-5).
Deviation: an epsilon of 32, which private training is not used with but poison may be kept out by,
and the smaller clip are ours; so is the schedule of the profile ``small``.
"""

from search_spaces._ask import Ask, number
from search_spaces.recipes._schedule import schedule
from trials.spec import MethodConfig


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``dp_sgd`` for ``cifar10`` or ``small``."""
    base = schedule(profile)
    found = {
        "epsilon": number(ask, "epsilon", 8.0, 2.0, 32.0),
        "clip": number(ask, "clip", 1.0, 0.1),
    }
    return MethodConfig("dp_sgd", {**base, **found})
