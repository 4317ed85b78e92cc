"""What one self-poisoned copy plants, and on which trusted images it is fitted, selected and
reported.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials import catalog, splits
from trials.spec import SpecError
from trials.types import Images, Poisoning, TriggerGoal

# trusted images; with fewer, one select part is too small to tell configurations apart
CROSS_FIT_BELOW = 1000


@dataclass(frozen=True, slots=True)
class Layout:
    """The planted trigger and target of one copy, and its int64 places in the trusted set; the
    three are disjoint.
    """

    goal: TriggerGoal
    fit: Tensor
    select: Tensor
    report: Tensor


def layout(
    trusted: Images, rng: Callable[..., Generator], copy: int, folds: int, attack: str
) -> Layout:
    """A random patch at a random place for a random target, and the cut of the trusted images for
    this copy.

    Args:
        trusted: the defender's images.
        rng: generator of a stage; the cut draws the same for every copy, the trigger its own.
        copy: number of the copy; it selects on part ``copy`` mod ``folds``.
        folds: parts for cross-fitting; 1 for one fixed part, 0 to choose by the number of trusted
            images.
        attack: what is planted; its trigger must not depend on the images.

    Raises:
        SpecError: the attack has no trigger.
    """
    folds = folds or (4 if len(trusted) < CROSS_FIT_BELOW else 1)
    fit, select, report = splits.cut(trusted.y, copy, folds, rng("split"))
    draw = rng("plant", copy)
    target = int(torch.randint(trusted.classes, (1,), generator=draw))
    poison = catalog.find("attacks", attack)
    settings = {"mark": "random", "place": "random"} if attack == "badnets" else {}
    planted: Poisoning = poison(trusted.take(fit), draw, m=0, target=target, **settings)
    (implant,) = planted.implants
    if not isinstance(implant.goal, TriggerGoal):
        raise SpecError(f"self_poisoning: {attack} has no trigger. Plant an attack that has one.")
    return Layout(implant.goal, fit, select, report)
