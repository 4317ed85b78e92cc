"""What was published of Witches' Brew, to stand beside ours.

Source: the public benchmark of Schwarzschild et al. 2021, arXiv:2006.12557 (its list of results: of
100 images each, victims from scratch); Geiping et al. 2021, arXiv:2009.02276, whose number is of
the text, about 90 %: its tables were not to be had.
Deviation: the benchmark's MobileNetV2 and VGG11 are made for 32 pixels, torchvision's are not; its
settings of the attack are not all known, so those that it does not name are to be the paper's, the
method's defaults. Victims are trained by our recipes, for at least 24 epochs, the default of
``fast``; the paper's are for 40. So these are references, not targets.
"""

import math
from typing import NamedTuple

from results.reference import load, paper
from trials import catalog
from trials.architecture import surrogate_said
from trials.spec import MethodConfig, Victim

_PLAIN = ("fast", "paper")  # recipes without anything against poison
_EPOCHS = 24  # the least that a victim is trained for
_WHOLE = 50_000  # training images of CIFAR-10
# the file's columns that are settings of the attack
_COLUMNS = {"poisoned": "budget", **{k: k for k in ("epsilon", "restarts", "ensemble", "augment")}}
# settings of any value: other draws of the same, what rounds otherwise, and a column of its own
_ANY = {"key", "instance", "surrogate", "batch", "precision", "arch"}


class Published(NamedTuple):
    """A published success, a fraction, and who published it."""

    success: float
    published_in: str


def published(victim: Victim) -> Published | None:
    """What was published of such a victim; None where nothing was: of other images, poison or
    architectures, part of the data, a filter, a recipe against poison, or a short training.
    """
    given = _case(victim)
    for row in load("gradient_matching") if given else ():
        named = {k: v for k, v in row.items() if v and k in given}
        if all(given[k] == v for k, v in named.items()) and _plain_but(victim, set(named)):
            return Published(float(row["success_percent"]) / 100, row["published_in"])
    return None


def _case(victim: Victim) -> dict[str, str]:
    """The victim in the words of the file; empty where no row can be of it."""
    whole = paper.whole(victim.dataset) and not victim.reserve
    training = victim.training
    usual = not training.params.get("start") and training.params.get("augment", True)
    plain = training.name in _PLAIN and victim.filter is None and usual
    if not whole or not plain or [a.name for a in victim.attacks] != ["witches_brew"]:
        return {}
    if _epochs(training) < _EPOCHS:
        return {}
    (attack,) = victim.attacks
    params = attack.params
    return {
        "dataset": victim.dataset.name,
        "model": _network(victim.model),
        "surrogate": _network(surrogate_said(victim, attack)),
        "epsilon": str(params.get("epsilon", 16)),
        "poisoned": str(math.ceil(float(params.get("budget", 0.01)) * _WHOLE - 1e-9)),
        "restarts": str(params.get("restarts", 8)),
        "ensemble": str(params.get("ensemble", 1)),
        "augment": str(params.get("augment", True)).lower(),
    }


def _epochs(training: MethodConfig) -> int:
    default = catalog.describe("recipes", training.name).settings["epochs"].default
    return int(training.params.get("epochs", default))


def _plain_but(victim: Victim, named: set[str]) -> bool:
    """Whether the attack has the defaults of the method, but for columns that a row names."""
    (attack,) = victim.attacks
    free = _ANY | {_COLUMNS[k] for k in named & set(_COLUMNS)}
    settings = catalog.describe("attacks", attack.name).settings
    return all(
        attack.params.get(key, setting.default) == setting.default
        for key, setting in settings.items()
        if key not in free
    )


def _network(model: MethodConfig) -> str:
    """The network's name as the file has it; another one's own, which is in no row."""
    if model.name == "torchvision":
        return str(model.params.get("arch")).removesuffix("_bn")
    width = model.params.get("width", 64)
    same = model.name == "resnet18" and width == 64 and not model.params.get("groups")
    return model.name if same else str(model)
