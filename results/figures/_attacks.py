"""What the figures of the plane share: looks of attacks, shapes of fronts, and faded colours."""

from collections.abc import Iterable, Sequence

import numpy as np

from results.figures._style import _COLOURS, _GREY, _SYMBOLS, Look
from results.selection.grouping import attack_name
from results.stats.roc import Floats
from trials.spec import Victim

CLEAN = Look(_GREY, "circle")
# eleven, so that marks differ where colours recur
_MARKS = (*_SYMBOLS, "triangle-down", "hourglass", "star")
# from little to much, seen alike by all
_ORDER = (
    "#56B4E9",
    "#1B83C6",
    "#CC79A7",
    "#D55E00",
    "#E69F00",
)


def attack_looks(victims: Iterable[Victim]) -> dict[str, Look]:
    """By attack's name, whatever its budget; clean victims are grey.

    All figures of a page give the same victims.
    """
    return named_looks({attack_name(v) for v in victims if v.attacks}) | {"clean": CLEAN}


def named_looks(names: Iterable[str]) -> dict[str, Look]:
    """A colour and a mark for each name."""
    return {
        n: Look(_COLOURS[i % len(_COLOURS)], _MARKS[i % len(_MARKS)])
        for i, n in enumerate(sorted(set(names)))
    }


def ranked_looks(values: Sequence[int]) -> dict[int, Look]:
    """By number, from the lowest (blue) to the highest (orange)."""
    ordered = sorted(set(values))
    last = max(1, len(ordered) - 1)
    colours = [_ORDER[round(i * (len(_ORDER) - 1) / last)] for i in range(len(ordered))]
    return {v: Look(colours[i], _SYMBOLS[i % len(_SYMBOLS)]) for i, v in enumerate(ordered)}


def faded(colour: str, opacity: float) -> str:
    """'#1B83C6' as plotly's rgba()."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def staircase(edge: Floats) -> Floats:
    """(k, 2) of (η, ρ): the border of what a front of (ρ, η), by rising ρ, dominates; from η = 0 to
    ρ = 1.
    """
    rho, eta = edge[:, 0], edge[:, 1]
    corners = np.column_stack(
        [np.repeat(eta, 2), np.column_stack([rho, np.append(rho[1:], 1.0)]).ravel()]
    )
    return np.vstack([[0.0, rho[0]], corners])
