"""Poisoned rows that a defender adds to a training set, to see what a data filter finds of them.

The draws are those of the triggers that are planted into copies of a model
(``trials.self_poisoning.triggers``), and some that keep labels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from trials import catalog
from trials.self_poisoning.redraws import draw_of
from trials.self_poisoning.triggers import DRAWS, Settings
from trials.spec import SpecError
from trials.splits import stratified_order
from trials.train import augment
from trials.types import Images, Poisoning, TriggerGoal

PROBES, STAMPED = 0.4, 0.3  # shares of the trusted images; the rest is held back
LEAST = 40  # rows of an attack: fewer are seldom learned, and make no threshold sure
# times the rows and the strength of the first draw, for each draw that was put aside
_MORE_ROWS, _STRENGTH = 2, 1.5
_STRENGTHS = {"alpha": 1.0, "strength": math.inf, "magnitude": math.inf}  # settings and their most
_SHIFT = 2  # pixels by which an image is shifted that is stamped once more


@dataclass(frozen=True, slots=True)
class OwnAttack:
    """An attack of the defender's.

    Attributes:
        attack: that makes the rows.
        draw: its settings, from a generator and the images' width.
        clean_label: its rows are of the target class, and keep their label.
    """

    attack: str
    draw: Callable[[Generator, int], Settings]
    clean_label: bool = False


def _opacity(rng: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=torch.float64))


def _of_kind(kind: str) -> OwnAttack:
    return OwnAttack(DRAWS[kind].attack, DRAWS[kind].draw)


# in the order in which they are planted: the first few are as unlike as they can be
OWN_ATTACKS: Mapping[str, OwnAttack] = {
    "patch": _of_kind("patch"),
    "sinusoid": OwnAttack("sinusoid", lambda r, w: {"alpha": _opacity(r, 0.1, 0.25)}, True),
    "blend": _of_kind("blend"),
    "warp": _of_kind("warp"),
    "clean_patch": OwnAttack("c_badnets", lambda r, w: {"mark": "random"}, True),
    "frequency": OwnAttack("frequency", lambda r, w: {"magnitude": 30.0 if w < 64 else 90.0}),
    "corner": _of_kind("corner"),
}
KINDS_OF: Mapping[str, tuple[str, ...]] = {
    "all": tuple(OWN_ATTACKS),
    "flipped": tuple(name for name, own in OWN_ATTACKS.items() if not own.clean_label),
    "patch": ("patch",),
}


@dataclass(frozen=True, slots=True)
class OwnRows:
    """The defender's poisoned rows, and how the trusted images are cut for them; the parts are
    disjoint.

    Attributes:
        names: of the attacks.
        goals: trigger and target of each.
        rows: the poisoned images, with the labels that they are trained with.
        number: int64 (p,), the attack of each row.
        first: bool (p,), the first row that is made of an image; others of that image, which is
            shifted for them, are found or missed with it, so that they count for nothing.
        restamped: how many rows of each attack are shifted images, as there were too few others.
        redrawn: how many draws of each attack were put aside before.
        probes: trusted images that a filter is given.
        stamped: trusted images as they were before they were stamped; no row is one, so a model
            that is trained on no poisoned row has not seen them.
        held: trusted images that are rows as any others while the filter looks; what it takes of
            them it takes of clean rows.
    """

    names: tuple[str, ...]
    goals: tuple[TriggerGoal, ...]
    rows: Images
    number: Tensor
    first: Tensor
    restamped: tuple[int, ...]
    redrawn: tuple[int, ...]
    probes: Images
    stamped: Images
    held: Images

    def among(self, train: Images) -> Images:
        """The rows of the training set, then the poisoned ones, then the held-back images."""
        parts = (train, self.rows.to(train.x.device), self.held.to(train.x.device))
        return joined(parts)


def joined(parts: tuple[Images, ...]) -> Images:
    """Several sets as one, in their order."""
    x, y = torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts])
    return replace(parts[0], x=x, y=y)


def own_rows(
    trusted: Images,
    n: int,
    rng: Callable[..., Generator],
    *,
    attacks: int,
    least: float,
    most: float,
    kinds: str,
    redrawn: Sequence[int] = (),
) -> OwnRows:
    """Draw the attacks, and stamp a part of the trusted images with their triggers.

    Args:
        trusted: the defender's images.
        n: rows of the training set.
        rng: generator of a stage.
        attacks: how many, each of another kind.
        least, most: share of the training set that an attack poisons, drawn between them evenly by
            its logarithm; 40 rows at least.
        kinds: a key of ``KINDS_OF``.
        redrawn: how many draws of each attack were put aside, as they were not learned: each time
            the next has twice the rows, another trigger, and is half as strong again as far as its
            kind has a strength that can grow; left out, none.

    Raises:
        SpecError: more attacks than kinds, or no image of a class that is to be stamped.
    """
    names = KINDS_OF[kinds][:attacks]
    if attacks > len(names):
        raise SpecError(
            f"self_poisoning: attacks = {attacks}, but there are {len(names)} of kinds = "
            f"{kinds!r}: lower attacks."
        )
    probes, stamped, held = _cut(trusted, rng("split"))
    targets = torch.randperm(trusted.classes, generator=rng("own targets")).tolist()
    goals, parts, number, restamped = [], list[Images](), list[int](), list[int]()
    first = list[Tensor]()
    times = tuple(redrawn) or (0,) * len(names)
    for j, name in enumerate(names):
        own, target = OWN_ATTACKS[name], targets[j % len(targets)]
        draw = rng("own rows", name)
        share = least * (most / least) ** float(torch.rand((), generator=draw))
        m = max(LEAST, round(share * n))
        pool, settings = _drawn(own, stamped, m, target, draw)
        if times[j]:
            draw, m = draw_of(rng, "own rows", name, redrawn=times[j]), m * _MORE_ROWS ** times[j]
            strength = _stronger(settings, times[j])
            pool, settings = _drawn(own, stamped, m, target, draw)
            settings |= strength
        rows, goal, images, again = _stamped(own.attack, settings, pool, m, target, draw)
        goals.append(goal)
        parts.append(rows)
        number += [j] * len(rows)
        first.append(_first(images))
        restamped.append(again)
    return OwnRows(
        names=names,
        goals=tuple(goals),
        rows=joined(tuple(parts)),
        number=torch.tensor(number),
        first=torch.cat(first),
        restamped=tuple(restamped),
        redrawn=times,
        probes=probes,
        stamped=stamped,
        held=held,
    )


def _stronger(first: Settings, redrawn: int) -> Settings:
    """The strength of the first draw, so many times half as strong again."""
    grown = {
        key: min(most, float(first[key]) * _STRENGTH**redrawn)
        for key, most in _STRENGTHS.items()
        if key in first
    }
    return {**grown}


def _cut(trusted: Images, rng: Generator) -> tuple[Images, Images, Images]:
    order = stratified_order(trusted.y, torch.arange(len(trusted)), rng)
    first, second = (round(share * len(trusted)) for share in (PROBES, PROBES + STAMPED))
    parts = (order[:first], order[first:second], order[second:])
    probes, stamped, held = (trusted.take(part) for part in parts)
    return probes, stamped, held


@dataclass(frozen=True, slots=True)
class _Pool:
    """Images that may be stamped: ``number``, then the same shifted, as often as it takes."""

    images: Images
    number: int


def _drawn(
    own: OwnAttack, images: Images, m: int, target: int, rng: Generator
) -> tuple[_Pool, Settings]:
    """What ``m`` rows of the attack are made of, and its settings."""
    mine = images.take((images.y == target) == own.clean_label)
    if not len(mine):
        where = "of" if own.clean_label else "outside"
        raise SpecError(
            f"self_poisoning: none of the {len(images)} trusted images that are stamped is "
            f"{where} class {target}: give more trusted images of each class."
        )
    times = math.ceil(m / len(mine))
    shifted = [replace(mine, x=augment(mine.x, rng, _SHIFT, False)) for _ in range(times - 1)]
    return _Pool(joined((mine, *shifted)), len(mine)), own.draw(rng, images.x.shape[-1])


def _stamped(
    attack: str, settings: Settings, pool: _Pool, m: int, target: int, rng: Generator
) -> tuple[Images, TriggerGoal, Tensor, int]:
    """``m`` rows of the attack, what it wants, the image of each row, and how many are shifted."""
    found: Poisoning = catalog.find("attacks", attack)(
        pool.images, rng, m=m, target=target, **settings
    )
    (implant,) = found.implants
    assert isinstance(implant.goal, TriggerGoal)
    places = implant.places.cpu()
    again = int((places >= pool.number).sum())
    return found.train.take(implant.places), implant.goal, places % pool.number, again


def _first(images: Tensor) -> Tensor:
    """Bool: where a number occurs for the first time."""
    _, places = np.unique(images.numpy(), return_index=True)
    first = torch.zeros(len(images), dtype=torch.bool)
    first[torch.from_numpy(places)] = True
    return first
