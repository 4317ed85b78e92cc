"""Whether a model's outputs stand in another order than the classes, by what it takes each class
for.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from results.selection.labels import percent
from trials.datasets._folders import ordered

MOST = 0.5  # share of a folder's images that are given the other class
SURE = 3.0  # standard deviations by which more images are right in the other order
NAMED = 3  # folders that a sentence names


def other_order(y: Tensor, guessed: Tensor, names: tuple[str, ...], order: str) -> list[str]:
    """A sentence where the classes fit better when their names are sorted in the other way that
    people sort them.

    Args:
        y: class of each image.
        guessed: class that the model gives it.
        names: in the order of the classes.
        order: in which they are sorted: numbers or text.
    """
    other = "text" if order == "numbers" else "numbers"
    there = ordered(names, other)
    if there == list(names):
        return []
    now, then = guessed == y, guessed == torch.tensor([there.index(n) for n in names])[y]
    won, lost = int((then & ~now).sum()), int((now & ~then).sum())
    if won - lost <= SURE * (won + lost) ** 0.5:
        return []
    first = ", ".join(there[:NAMED])
    better, given = (percent(int(right.sum()) / len(y)) for right in (then, now))
    return [
        f"sorted as {other} ({first}, ...) the classes fit better: {better} % of the images would "
        f"be right, as they are {given} %. Give --order {other}."
    ]


def exchanged(y: Tensor, guessed: Tensor, names: tuple[str, ...]) -> list[str]:
    """A sentence where the confusion matrix is, for some classes, nearly a permutation; none where
    it is not.

    Args:
        y: class of each image by its folder.
        guessed: class that the model gives it.
        names: folders, in the order of the classes.
    """
    k = len(names)
    counts = torch.bincount(y * k + guessed, minlength=k * k).reshape(k, k).numpy()
    order = _order(counts)
    moved = [i for i in range(k) if order[i] != i]
    if not moved:
        return []
    n = len(y)
    right_moved = sum(int(counts[i, order[i]]) for i in moved)
    right_now = sum(int(counts[i, i]) for i in moved)
    if right_moved - right_now <= SURE * (right_moved + right_now) ** 0.5:
        return []
    before = int(counts.trace())
    share = {i: percent(counts[i, order[i]] / counts[i].sum(), 0) for i in moved}
    seen = [
        f"of the images in {names[i]!r} it calls {share[i]} % {names[order[i]]!r}"
        for i in moved[:NAMED]
    ]
    extra = f", and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
    what = (
        "two class folders look exchanged"
        if len(moved) == 2
        else f"{len(moved)} class folders look out of order"
    )
    after = before - right_now + right_moved
    said = (
        f"{what}: {', '.join(seen)}{extra}. In that order {percent(after / n)} % would be right, "
        f"as they are {percent(before / n)} %."
    )
    return [
        f"{said} Sorted by name, the folders must be in the order of the model's outputs: rename "
        "them, with numbers in front."
    ]


def _order(counts: NDArray[np.int64]) -> list[int]:
    """The class that each folder is likeliest; only where a whole cycle of folders is mostly given
    another's.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - slow to load

    likely = [int(j) for j in linear_sum_assignment(-counts)[1]]
    order = list(range(len(counts)))
    todo = set(order)
    while todo:
        cycle = [min(todo)]
        while (after := likely[cycle[-1]]) != cycle[0]:
            cycle.append(after)
        todo -= set(cycle)
        if all(counts[i, likely[i]] >= MOST * counts[i].sum() for i in cycle):
            for i in cycle:
                order[i] = likely[i]
    return order
