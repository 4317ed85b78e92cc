"""ABL's isolation: epochs, the floor of the loss and its form.

Source: Li et al. 2021, arXiv:2110.11571 (10 to 20 epochs, a floor of 0.5 for the batch, no
augmentation); BaDLoss's and others' forms after it.
Deviation: the profile ``small`` is ours, for digits and runs of seconds.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

TRAINING: dict[str, dict[str, Scalar]] = {
    "cifar10": {"lr": 0.1, "batch": 64, "tracked_epochs": 20},
    "imagenet": {"lr": 0.1, "batch": 64, "tracked_epochs": 20},
    "small": {"lr": 0.02, "batch": 64, "tracked_epochs": 10},
}
EPOCHS = {"cifar10": (10, 5, 20), "imagenet": (10, 5, 20), "small": (5, 3, 10)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``abl`` for ``cifar10``, ``imagenet`` or ``small``."""
    found = {
        **of_profile(TRAINING, profile),
        "epochs": number(ask, "epochs", *EPOCHS[profile], integer=True),
        "form": option(ask, "form", "flooded_batch", "flooded_row", "signed"),
        "floor": number(ask, "floor", 0.5, 0.3, 0.1, log=False),
    }
    return MethodConfig("abl", found)
