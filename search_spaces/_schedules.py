"""The first question of a gradient defense's space: a learning rate that falls, or the paper's
constant one.
"""

from search_spaces._ask import Ask, number, option
from trials.spec import Scalar

STEPS = {"cifar10": (400, 200, 1000), "imagenet": (2000, 1000, 5000)}
LR = {"cifar10": (0.05, 0.01, 0.02, 0.1), "imagenet": (0.005, 0.001, 0.01)}
CLIP = 5.0  # of the gradient's norm, where the rate begins high


def descent(ask: Ask, profile: str, steps: int, *constant: float) -> dict[str, Scalar]:
    """Schedule, steps, learning rate and distillation.

    A rate that falls over fewer steps from a higher value comes first; its run is judged at its
    end, so that its steps are searched. The other branch is the paper's form: ``steps`` at one of
    the ``constant`` rates, with labels alone. The profile ``small`` has that branch alone.
    """
    if profile == "small":
        return {"steps": steps, "lr": number(ask, "lr", *constant)}
    if option(ask, "schedule", "cosine", "constant") == "constant":
        lr = number(ask, "lr_constant", *constant)
        return {"schedule": "constant", "steps": steps, "lr": lr, "distill": 0.0, "clip": 0.0}
    return {
        "schedule": "cosine",
        "steps": int(number(ask, "steps", *STEPS[profile], integer=True)),
        "lr": number(ask, "lr", *LR[profile]),
        "distill": number(ask, "distill", 0.0, 0.5, log=False),
        "clip": CLIP,
    }
