"""What one self-poisoned copy plants, and on which trusted images it is fitted, selected and
reported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from trials import catalog, splits
from trials.self_poisoning import EASIEST, kind_of
from trials.self_poisoning.redraws import draw_of
from trials.self_poisoning.triggers import DRAWS
from trials.spec import MethodConfig, Scalar, SpecError
from trials.types import Images, Poisoning, TriggerGoal

CROSS_FIT_BELOW = (
    1000  # trusted images; with fewer, one select part is too small to tell configurations apart
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The planted trigger and target of one copy, and its int64 places in the trusted set; the
    three are disjoint.

    Attributes:
        kind: of trigger, one of ``KINDS``, or the attack where one was named.
        goal: trigger and target.
        poisoned: images of the fit part as the attack trains on them, with the labels that it gives
            them; None where they are those that the trigger makes, labelled as the target.
    """

    kind: str
    goal: TriggerGoal
    fit: Tensor
    select: Tensor
    report: Tensor
    poisoned: Images | None = None


def layout_of(
    trusted: Images,
    rng: Callable[..., Generator],
    game: MethodConfig,
    redrawn: int = 0,
    kind: str = "",
) -> Layout:
    """A random trigger for a random target, and the cut of the trusted images for a copy.

    Args:
        trusted: the defender's images.
        rng: generator of a stage; the cut draws the same for every copy, the trigger its own.
        game: resolved ``self_poison``. Its ``copy`` selects on part ``copy`` mod ``folds``;
            ``folds`` 1 is one fixed part, 0 depends on the number of trusted images; the trigger of
            its ``attack`` must not depend on the images.
        redrawn: how often a draw of the kind was put aside before this one.
        kind: of trigger; left out, the copy's.

    Raises:
        SpecError: the attack has no trigger.
    """
    copy, attack = int(game.params["copy"]), str(game.params["attack"])
    folds = int(game.params["folds"]) or (4 if len(trusted) < CROSS_FIT_BELOW else 1)
    fit, select, report = splits.cut(trusted.y, copy, folds, rng("split"))
    draw = draw_of(rng, "plant", copy, redrawn=redrawn)
    target = int(torch.randint(trusted.classes, (1,), generator=draw))
    kind, images = kind or kind_of(attack, copy), trusted.take(fit)
    planted = _planted(kind, images, draw, target)
    (implant,) = planted.implants
    if not isinstance(implant.goal, TriggerGoal):
        raise SpecError(f"self_poisoning: {kind} has no trigger. Plant an attack that has one.")
    own = planted.train.take(implant.places) if len(implant.places) else None
    return Layout(kind, implant.goal, fit, select, report, own)


def layout_made(
    trusted: Images,
    rng: Callable[..., Generator],
    game: MethodConfig,
    facts: Mapping[str, Any],
) -> Layout:
    """What a copy that was made carries, by the facts kept with it; else as ``layout_of``."""
    kind = EASIEST if facts.get("fallback") else ""
    return layout_of(trusted, rng, game, int(facts.get("redrawn", 0)), kind)


def _planted(kind: str, images: Images, draw: Generator, target: int) -> Poisoning:
    settings: dict[str, Scalar] = {}
    attack, m = kind, 0
    if kind in DRAWS:
        attack, settings = DRAWS[kind].attack, DRAWS[kind].draw(draw, images.x.shape[-1])
        m = int((images.y != target).sum()) if DRAWS[kind].partly else 0
    elif kind == "badnets":
        settings = {"mark": "random", "place": "random"}
    poison = catalog.find("attacks", attack)
    planted: Poisoning = poison(images, draw, m=m, target=target, **settings)
    return planted
