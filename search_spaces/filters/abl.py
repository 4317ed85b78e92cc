"""ABL's isolation: epochs, the floor of the loss, and of what it is.

Source: Li et al. 2021, arXiv:2110.11571 (10 to 20 epochs, a floor of 0.5 for the batch, no
augmentation); BaDLoss's form after it.
Deviation: the profile ``small`` is ours, for digits and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

TRAINING: dict[str, dict[str, Scalar]] = {
    "cifar10": {"lr": 0.1, "batch": 64, "tracked_epochs": 20},
    "imagenet": {"lr": 0.1, "batch": 64, "tracked_epochs": 20},
    "small": {"lr": 0.1, "batch": 64, "tracked_epochs": 10},
}
EPOCHS = {"cifar10": (10, 5, 20), "imagenet": (10, 5, 20), "small": (10, 5)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``abl`` for ``cifar10``, ``imagenet`` or ``small``."""
    found = {
        **of_profile(TRAINING, profile),
        "epochs": number(ask, "epochs", *EPOCHS[profile], integer=True),
        "flooded": option(ask, "flooded", "batch", "row"),
        "floor": number(ask, "floor", 0.5, 0.3, 0.1, log=False),
    }
    return MethodConfig("abl", found)
