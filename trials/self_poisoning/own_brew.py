"""Poison without a trigger that a defender brews from trusted images, to see what it does to their
model: as Witches' Brew makes it, towards trusted images that no training sees.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from trials.attacks import witches_brew
from trials.self_poisoning.own_rows import joined
from trials.spec import SpecError
from trials.splits import stratified_order
from trials.train import augment
from trials.types import Images, InstanceGoal
from trials.views import AttackerView

_SHIFT = 2  # pixels by which an image is shifted that is perturbed once more


@dataclass(frozen=True, slots=True)
class OwnBrew:
    """The defender's perturbed rows, and what each pair of an image and a class wants.

    Attributes:
        rows: the perturbed images, with their right labels.
        goals: one a pair, on ``held``.
        held: trusted images that no training sees.
    """

    rows: Images
    goals: tuple[InstanceGoal, ...]
    held: Images

    @property
    def trusted(self) -> Images:
        """The held images that are not aimed at: what a filter may be told to be clean."""
        aimed = torch.cat([goal.places for goal in self.goals])
        rest = torch.ones(len(self.held), dtype=torch.bool)
        rest[aimed] = False
        return self.held.take(rest.nonzero().flatten())


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a defender brews from.

    Attributes:
        pool: images that may be perturbed, ``m`` or more of each class, some of them shifted.
        held: the other trusted images.
        instances: for each pair its true class, class wanted, and number among the images of the
            true class in ``held``, as ``witches_brew`` takes it.
        m: images that are perturbed for each pair.
    """

    pool: Images
    held: Images
    instances: tuple[str, ...]
    m: int


def ingredients(
    trusted: Images, n: int, rng: Callable[..., Generator], *, pairs: int, budget: float
) -> Ingredients:
    """Cut the trusted images in halves, to be perturbed and to be aimed at, and draw the pairs.

    Args:
        trusted: the defender's images.
        n: rows of the training set.
        rng: generator of a stage.
        pairs: how many images are aimed at.
        budget: perturbed images of a pair, as a share of the training set; one at least.

    Raises:
        SpecError: more pairs than images, or a class of which there is no image.
    """
    order = stratified_order(trusted.y, torch.arange(len(trusted)), rng("split"))
    half = len(order) // 2
    held, base = trusted.take(order[:half]), trusted.take(order[half:])
    counts = torch.bincount(base.y, minlength=base.classes)
    if pairs >= len(held) or not int(counts.min()):
        raise SpecError(
            f"self_poisoning: pairs = {pairs} needs as many trusted images that no training sees "
            f"and another, and one of each class to perturb; of {len(trusted)} trusted images "
            f"{len(held)} are held back. Give more trusted images, or lower pairs."
        )
    m = max(1, math.ceil(budget * n - 1e-9))
    times, draws = math.ceil(m / int(counts.min())), rng("own images")
    shifted = [replace(base, x=augment(base.x, draws, _SHIFT, False)) for _ in range(times - 1)]
    draw = rng("own pairs")
    aimed = torch.randperm(len(held), generator=draw)[:pairs].tolist()
    instances = tuple(_instance(held, place, draw) for place in aimed)
    return Ingredients(joined((base, *shifted)), held, instances, m)


def _instance(held: Images, place: int, rng: Generator) -> str:
    true = int(held.y[place])
    by = 1 + int(torch.randint(held.classes - 1, (), generator=rng))
    number = int((held.y[:place] == true).sum())
    return f"{true}-{(true + by) % held.classes}-{number}"


def brewed(of: Ingredients, view: AttackerView, settings: Mapping[str, Any]) -> OwnBrew:
    """Perturb the images of each pair; what was made before is read.

    Args:
        of: what is brewed from.
        view: a view whose training set is the pool and whose targets are the held images.
        settings: of ``witches_brew``.
    """
    budget = of.m / len(of.pool)
    goals, parts = list[InstanceGoal](), list[Images]()
    for key, instance in enumerate(of.instances):
        made = witches_brew.craft(
            view, Generator(), key=key, instance=instance, budget=budget, **settings
        )
        (implant,) = made.implants
        assert isinstance(implant.goal, InstanceGoal)
        goals.append(implant.goal)
        parts.append(made.train.take(implant.places))
    return OwnBrew(joined(tuple(parts)), tuple(goals), of.held)


def all_kept(rows: Images, n: int) -> Tensor:
    """Bool, of the rows of the training set and of the defender's: none is removed."""
    return torch.ones(n + len(rows), dtype=torch.bool)
