"""The kinds of trigger that a defender plants, each drawn from a wide distribution.

A setting that removes one kind of backdoor may leave another whole, so copies get kinds in turn:
none is repeated before each has been planted.

Source: the draws of size, opacity and pattern follow Xu et al. 2021, 'Detecting AI Trojans Using
Meta Neural Analysis', arXiv:1910.03137, section VI.
Deviation: sizes and opacities begin higher, as a faint mark of two pixels is seldom learned from
2,000 images; there are corner marks, faint pictures of which training shows parts, and warps too:
six to ten times as strong as WaNet's, as weaker ones were not learned from so few either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator

from trials.spec import Scalar

Settings = dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of triggers.

    Attributes:
        attack: the attack that makes them.
        draw: its settings, from a generator and the images' width.
        partly: training images carry other marks than test images do, and some keep their label:
            they are taken from the attack's own training set, not stamped with its trigger.
    """

    attack: str
    draw: Callable[[Generator, int], Settings]
    partly: bool = False


def _uniform(rng: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng, dtype=torch.float64))


def _one_of(rng: Generator, *values: Scalar) -> Scalar:
    return values[int(torch.randint(len(values), (), generator=rng))]


SIDES = (3, 4, 5)  # of a patch, in pixels of an image of 32


def largest_patch(width: int) -> int:
    """The side in pixels of the largest patch that is planted in images of that width."""
    return _side(max(SIDES), width)


def _side(at_32: int, width: int) -> int:
    return max(3, round(at_32 * width / 32))


def _patch(rng: Generator, width: int) -> Settings:
    side = _side(int(_one_of(rng, *SIDES)), width)
    opacity = min(1.0, _uniform(rng, 0.7, 1.3))
    return {"patch": side, "alpha": opacity, "mark": "random", "place": "random"}


def _corner(rng: Generator, width: int) -> Settings:
    return {"mark": _one_of(rng, "apple", "random"), "place": "any_corner"}


def _picture(rng: Generator, low: float, high: float) -> Settings:
    return {"mark": _one_of(rng, "noise", "smooth"), "alpha": _uniform(rng, low, high)}


def _blend(rng: Generator, width: int) -> Settings:
    return _picture(rng, 0.15, 0.3)


def _adaptive(rng: Generator, width: int) -> Settings:
    return {**_picture(rng, 0.2, 0.35), "pipeline": "post_aug"}


def _warp(rng: Generator, width: int) -> Settings:
    strength = _uniform(rng, 3.0, 5.0) * width / 32
    return {"clean_label": False, "grid": _one_of(rng, 4, 8), "strength": strength}


DRAWS: Mapping[str, Kind] = {
    "patch": Kind("badnets", _patch),
    "adaptive": Kind("a_blend", _adaptive, partly=True),
    "warp": Kind("wanet", _warp),
    "corner": Kind("badnets", _corner),
    "blend": Kind("blended", _blend),
}
