"""Targeted: do attacks without a trigger give the images of their choosing the class they want?

Source: Geiping et al. 2021, arXiv:2009.02276, section 5: success is the share of images and newly
trained victims for which the class wanted is predicted. Clean accuracy stands beside it.
Deviation: beside each victim stands its control, of the same seed on the clean training set, which
is what poison of epsilon 0 gives: it serves all keys and budgets.
"""

from collections.abc import Generator as Steps

import torch
from torch import Tensor, nn

from trials.metrics import accuracy, predictions
from trials.runtime import EvaluatorContext
from trials.spec import Point, SpecError
from trials.train import to_float
from trials.types import Cases, Images, InstanceGoal


def play(ctx: EvaluatorContext, /) -> Steps[Point, None, dict[str, float]]:
    """Measure the trained victim and its control on the images that the attacks are after.

    ``success`` is the share of them that get the class wanted, ``kept`` the share that keep their
    true class, ``wanted`` the mean probability of the class wanted; each with ``_control`` for the
    control. ``cda`` and ``cda_control`` are clean accuracies, ``n_targeted`` the images, ``m`` the
    poisoned ones.
    """
    poisoning, test = ctx.poisoning(), ctx.test()
    goals = [implant.goal for implant in poisoning.implants]
    if not goals or not all(isinstance(goal, InstanceGoal) for goal in goals):
        raise SpecError("targeted: every attack on the victim must be one without a trigger.")
    each = [goal.cases(test) for goal in goals]
    found = {"n_targeted": float(sum(map(len, each))), "m": float(len(poisoning.places))}
    found |= {"n_clean": float(len(test))}
    for model, which in ((ctx.trained(), ""), (ctx.control(), "_control")):
        told = measured(model, each, test) | {"cda": accuracy(model, test)}
        found |= {f"{name}{which}": value for name, value in told.items()}
    return found
    yield  # a game is a generator; this one has no curve


def measured(model: nn.Module, each: list[Cases], test: Images) -> dict[str, float]:
    """The share of the cases that get the class wanted, and that keep their true class, and the
    mean probability of the class wanted; ``test`` is the set that they come from.
    """
    x = torch.cat([cases.x for cases in each])
    wanted = torch.cat([cases.wanted for cases in each])
    true = test.y[torch.cat([cases.places for cases in each])]
    told = predictions(model, x).to(wanted.device)
    return {
        "success": _share(told == wanted),
        "kept": _share(told == true),
        "wanted": _probability(model, x, wanted),
    }


@torch.no_grad()
def _probability(model: nn.Module, x: Tensor, wanted: Tensor) -> float:
    device = next(model.parameters()).device
    chances = model(to_float(x.to(device))).double().softmax(1)
    return float(chances.gather(1, wanted.to(device)[:, None]).mean())


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())
