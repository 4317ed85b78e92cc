"""BaDLoss: neighbours, probes, what is tracked and for how long.

Source: the authors' configuration (50 nearest of 250 probes, 30 epochs of AdamW at 1e-3, batches of
128 for CIFAR-10, 256 otherwise); the other values are ours.
Deviation: the profile ``small`` is ours, for digits and runs of seconds; its probes are few, and it
tracks at a higher learning rate for fewer epochs.
"""

from search_spaces._ask import Ask, number, of_profile, option
from trials.spec import MethodConfig, Scalar

TRACKING: dict[str, dict[str, Scalar]] = {
    "cifar10": {"lr": 1e-3, "batch": 128, "tracked_epochs": 30},
    "imagenet": {"lr": 1e-3, "batch": 256, "tracked_epochs": 30},
    "small": {"lr": 1e-3, "batch": 64, "tracked_epochs": 15},
}
K = {"cifar10": (50, 5, 25, 100), "imagenet": (50, 5, 25, 100), "small": (10, 3, 25)}
PROBES = {"cifar10": (250, 100), "imagenet": (250, 100), "small": (100, 50)}
EPOCHS = {"cifar10": (30, 10, 20), "imagenet": (30, 10, 20), "small": (15, 8)}


def space(ask: Ask, profile: str, /) -> MethodConfig:
    """Settings of ``badloss`` for ``cifar10``, ``imagenet`` or ``small``."""
    found = {
        **of_profile(TRACKING, profile),
        "k": number(ask, "k", *K[profile], integer=True),
        "probes": number(ask, "probes", *PROBES[profile], integer=True),
        "epochs": number(ask, "epochs", *EPOCHS[profile], integer=True),
        "metric": option(ask, "metric", "loss", "log_loss", "probability"),
        "spikes": option(ask, "spikes", "left_out", "kept"),
    }
    return MethodConfig("badloss", found)
