"""Settings that methods were given later, each at the value that stands for what they did before.

At that value a setting stays out of the id, so that stored records are found; it stays in the
params, from which a search recalls its configurations.
"""

from collections.abc import Mapping

_Settings = Mapping[str, str | int | float | bool]
_PRECISION: _Settings = {"precision": "fp32"}
_DESCENT: _Settings = {
    **_PRECISION,
    "schedule": "constant",
    "clip": 0.0,
    "distill": 0.0,
    "pam": 0.0,
}
_ADAM: _Settings = {"adam_eps": 1e-8}
_NORM: _Settings = {"mean": "", "std": ""}
LATER: Mapping[str, _Settings] = {
    "badloss": {"seen": "after_epoch"},
    "d3": _PRECISION,
    "fine_pruning": _DESCENT,
    "fine_tuning": _DESCENT,
    "fst": _PRECISION,
    "ft_sam": _PRECISION,
    "nad": _DESCENT,
    "neural_cleanse": _DESCENT,
    "overlay_soup": _PRECISION,
    "pivotal_tuning": _DESCENT,
    "weight_decay": _DESCENT,
    "own": _NORM,
    "resnet18": {**_NORM, "groups": 0},
    "small_cnn": {**_NORM, "groups": 0},
    "timm": _NORM,
    "torchvision": _NORM,
    "torchvision_resnet18": _NORM,
    "cifar10": {"size": 32, "imbalance": 1.0},
    "digits": {"imbalance": 1.0},
    "image_folder": {"order": "text", "turn": False, "classes": "", "outputs": 0},
    "image_table": {"classes": "", "outputs": 0},
    "fast": {"start": "", "augment": True},
    "filtering": {"beta": 0.1, "quota": "global", "cap": 0.5, "delta": 0.02},
    "self_poison": {"scheme": "labels", "optimizer": "sgd", "hope": 0.5},
    "self_poison_data": {"redraws": 0},
    "tuning": {"cost": "copies", "reconstruct": False, "mirrored": False, "smooth": False},
    "confirmation": {
        "cost": "copies",
        "probe": False,
        "reconstruct": False,
        "mirrored": False,
        "smooth": False,
    },
    "sleeper_agent": _ADAM,
    "witches_brew": {"arch": "", **_PRECISION, **_ADAM},
}
