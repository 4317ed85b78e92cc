"""Gradient shaping: the noise on a clipped gradient.

Source: Geiping et al. 2021, arXiv:2009.02276, the figure of defenses (a clip of 1, noise from 1e-4
to 1e-2).
Deviation: the schedule of the profile ``small`` is ours, for digits and runs of seconds.
"""

from search_spaces._ask import Ask, number
from search_spaces.recipes._schedule import schedule
from trials.spec import MethodConfig


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``gradient_shaping`` for ``cifar10`` or ``small``."""
    found = {"clip": 1.0, "noise": number(ask, "noise", 1e-3, 1e-4, 5e-4, 5e-3, 1e-2)}
    return MethodConfig("gradient_shaping", {**schedule(profile), **found})
