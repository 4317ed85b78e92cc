"""Adversarial neuron pruning: size of the perturbations, share of the plain loss, and iterations.

Source: Wu & Wang 2021, arXiv:2110.14430: eps 0.4, alpha 0.2, learning rate 0.2, 2,000 iterations of
128.
Deviation: the threshold is the curve's axis. The profile ``small`` is ours, for digits of 16 pixels
and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile
from trials.spec import MethodConfig

FIXED = {
    "cifar10": {"batch": 128, "most": 0.2},
    "imagenet": {"batch": 128, "most": 0.2},
    "small": {"batch": 32, "most": 0.5},
}
ITERATIONS = {"cifar10": (2000, 500, 1000), "imagenet": (2000, 500), "small": (100, 50)}
EPS = {"cifar10": (0.4, 0.2, 0.3, 0.6), "imagenet": (0.4, 0.2), "small": (0.4, 0.2)}
ALPHA = {"cifar10": (0.2, 0.1, 0.5), "imagenet": (0.2, 0.5), "small": (0.2, 0.5)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``anp`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed = of_profile(FIXED, profile)
    iterations = int(number(ask, "iterations", *ITERATIONS[profile], integer=True))
    eps, alpha = number(ask, "eps", *EPS[profile]), number(ask, "alpha", *ALPHA[profile])
    return MethodConfig("anp", {**fixed, "iterations": iterations, "eps": eps, "alpha": alpha})
