"""I-BAU: learning rate, rounds, terms of the series, share of perturbed images, and their bound.

Source: Zeng et al. 2022, arXiv:2110.03735, and its authors' code: Adam at 1e-3, 3 to 5 rounds, five
terms.
Deviation: the bound is ours; there was none. The profile ``small`` is ours, for digits of 16 pixels
and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

BATCH = {"cifar10": 128, "imagenet": 64, "small": 32}
ROUNDS = {"cifar10": (5, 10), "imagenet": (3, 5), "small": (5, 3)}
LR = {"cifar10": (5e-4, 1e-4, 1e-3), "imagenet": (1e-4, 3e-5), "small": (1e-3, 3e-3)}
TERMS = {"cifar10": (5, 1), "imagenet": (5,), "small": (5,)}
SHARE = {"cifar10": (0.1, 0.01, 0.5), "imagenet": (0.1,), "small": (0.5, 0.1)}
RADIUS = {"cifar10": (10.0, 5.0), "imagenet": (30.0, 10.0), "small": (5.0, 3.0)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``i_bau`` for ``cifar10``, ``imagenet`` or ``small``."""
    batch = of_profile(BATCH, profile)
    rounds = int(number(ask, "rounds", *ROUNDS[profile], integer=True))
    terms = int(number(ask, "terms", *TERMS[profile], integer=True))
    found = {
        "lr": number(ask, "lr", *LR[profile]),
        "share": number(ask, "share", *SHARE[profile]),
        "radius": number(ask, "radius", *RADIUS[profile]),
    }
    return MethodConfig("i_bau", {"batch": batch, "rounds": rounds, "terms": terms, **found})
