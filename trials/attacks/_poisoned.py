"""Which images an attack changes, and the training set with the changed ones in place of the
originals.
"""

from dataclasses import replace

import torch
from torch import Generator, Tensor

from trials.spec import SpecError
from trials.types import Images, Implant, Poisoning, Trigger, TriggerGoal


def chosen(train: Images, m: int, rng: Generator, target: int, *, clean_label: bool) -> Tensor:
    """Places of ``m`` images, uniformly without replacement: of class ``target`` (clean label), or
    of the others.

    With the same generator, the places for a smaller ``m`` are among those for a larger one.

    Raises:
        SpecError: no such class, or more images asked for than there are.
    """
    if not 0 <= target < train.classes:
        raise SpecError(f"target must be a class in 0..{train.classes - 1}, got {target}.")
    candidates = ((train.y == target) if clean_label else (train.y != target)).nonzero().flatten()
    if not 0 <= m <= len(candidates):
        where = "of" if clean_label else "outside"
        raise SpecError(
            f"m must be in 0..{len(candidates)}, the training images {where} class {target}, got "
            f"{m}."
        )
    return candidates[torch.randperm(len(candidates), generator=rng)[:m]]


def replaced(train: Images, places: Tensor, x: Tensor, label: int | Tensor) -> Images:
    """A copy of ``train`` whose images at ``places`` are ``x`` with the label ``label``, one for
    all or one each.
    """
    images, labels = train.x.clone(), train.y.clone()
    images[places], labels[places] = x, label
    return replace(train, x=images, y=labels)


def stamped(
    train: Images,
    rng: Generator,
    trigger: Trigger,
    *,
    m: int,
    target: int,
    boost: int,
    clean_label: bool,
) -> Poisoning:
    """The poisoning of an attack whose training images carry what test images do: ``m`` of them,
    labelled ``target``.

    Raises:
        SpecError: ``m`` or ``target`` is too large.
    """
    places = chosen(train, m, rng, target, clean_label=clean_label)
    poisoned = replaced(train, places, trigger(train.x[places], places), target)
    return Poisoning(poisoned, (Implant(places, TriggerGoal(trigger, target), boost),))
