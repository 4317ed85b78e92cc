"""STRIP: how images are laid over one another, and how many.

Source: Gao et al. 2019, arXiv:1902.06531 (a hundred images; here 64, as public codes have it).
Deviation: opacities around the published ones are ours; ``small`` begins with a fainter one, as
strokes on black hide one another.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

ALPHA = {"cifar10": (0.5, 0.3), "imagenet": (0.5, 0.3), "small": (0.3, 0.5)}
OVERLAYS = {"cifar10": (64, 16), "imagenet": (64, 16), "small": (16, 32)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``strip`` for ``cifar10``, ``imagenet`` or ``small``."""
    form = option(ask, "form", "average", "sum")
    found: dict[str, Scalar] = {
        "form": form,
        "quantile": number(ask, "quantile", 0.1, 0.05, log=False),
        "overlays": number(ask, "overlays", *of_profile(OVERLAYS, profile), integer=True),
    }
    if form == "average":
        found["alpha"] = number(ask, "alpha", *ALPHA[profile], log=False)
    else:
        found["alpha"] = number(ask, "sum_alpha", 1.0, 0.5, log=False)
    return MethodConfig("strip", found)
