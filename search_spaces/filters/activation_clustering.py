"""Activation clustering: how a class is judged, what groups the rows, and how latents are reduced.

Source: Chen et al. 2018, arXiv:1811.03728, in the form of BaDLoss first (predicted classes, ten
independent components, a silhouette of 0.15); the others are other public codes'.
Deviation: the same for every profile; the thresholds around the published ones are ours.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

DIMENSIONS = {"cifar10": (10, 3), "imagenet": (10, 3), "small": (10, 3)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``activation_clustering`` for ``cifar10``, ``imagenet`` or ``small``."""
    dimensions = of_profile(DIMENSIONS, profile)
    rule = option(ask, "rule", "silhouette", "share", "always")
    found: dict[str, Scalar] = {"rule": rule}
    if rule == "silhouette":
        found["silhouette"] = number(ask, "silhouette", 0.15, 0.1, 0.3, log=False)
    if rule == "share":
        found["share"] = number(ask, "share", 0.35, 0.3, log=False)
    found["classes"] = option(ask, "classes", "predicted", "label")
    found["reduction"] = option(ask, "reduction", "ica", "svd", "none")
    if found["reduction"] != "none":
        found["dimensions"] = number(ask, "dimensions", *dimensions, integer=True)
    return MethodConfig("activation_clustering", found)
