"""Channel Lipschitzness pruning: one point, whose curve is the whole range of thresholds.

Source: Zheng et al. 2022, arXiv:2208.03111: u = 3 on CIFAR-10.
Deviation: the threshold is the curve's axis, so that there is nothing to search.
"""

from search_spaces._ask import Ask, of_profile
from trials.spec import MethodConfig

MOST = {"cifar10": 0.1, "imagenet": 0.1, "small": 0.2}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """The configuration of ``clp`` for ``cifar10``, ``imagenet`` or ``small``."""
    return MethodConfig("clp", {"most": of_profile(MOST, profile)})
