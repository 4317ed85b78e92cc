"""Neural Cleanse: form of the trigger, how its size is judged, and the weight of its norm.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P (mask: weight, threshold and learning rate of
the first point); Lukas & Kerschbaum 2023, arXiv:2305.09671, Table V and section A-E (additive:
steps, and weights from 2e-2 to 1e-6).
Deviation: the mask's steps are a thousand, for the original's 31,000 at most. In the additive form,
Table V's weight leads; the authors' preliminary code, which summed the norm over a batch of 128,
ran what is 2.56 here. The profile ``small`` is ours, for digits and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

MASK: dict[str, dict[str, Scalar]] = {
    "cifar10": {"steps": 1000, "lr": 0.1, "batch": 32, "patience": 5, "round_steps": 10},
    "imagenet": {"steps": 1000, "lr": 0.1, "batch": 32, "patience": 5, "round_steps": 10},
    "small": {"steps": 200, "lr": 0.1, "batch": 16, "patience": 3, "round_steps": 5},
}
ADDITIVE: dict[str, dict[str, Scalar]] = {
    "cifar10": {"steps": 100, "batch": 128},
    "imagenet": {"steps": 200, "batch": 32},
    "small": {"steps": 50, "batch": 16},
}
FIRST_WEIGHT = {
    "cifar10": (1e-3, 1e-2, 1e-4),
    "imagenet": (1e-3, 1e-2, 1e-4),
    "small": (1e-3, 1e-2),
}
WEIGHT = {"cifar10": (2e-2, 2e-3, 2e-4), "imagenet": (1e-5, 1e-3, 2e-2), "small": (0.02, 0.2)}
ADDITIVE_LR = {"cifar10": (0.01, 0.1), "imagenet": (0.01, 0.1), "small": (0.1, 0.01)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of the detector ``neural_cleanse`` for ``cifar10``, ``imagenet`` or ``small``."""
    fixed, form = of_profile(MASK, profile), option(ask, "form", "mask", "additive")
    found: dict[str, Scalar] = {"form": form, "judge": option(ask, "judge", "norm", "anomaly")}
    if form == "mask":
        found["lambda_n"] = number(ask, "lambda_n", *FIRST_WEIGHT[profile])
        found["threshold"] = number(ask, "threshold", 0.99, 0.95, log=False)
        return MethodConfig("neural_cleanse", {**fixed, **found})
    found["lambda_n"] = number(ask, "additive_lambda_n", *WEIGHT[profile])
    found["lr"] = number(ask, "additive_lr", *ADDITIVE_LR[profile])
    return MethodConfig("neural_cleanse", {**ADDITIVE[profile], **found})
