"""Attacks compared where they are equally large, or equally successful before the defense.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-D compares attacks at the budgets of
Table II.
Deviation: pairs are matched, and the difference has an interval over models; the clean models are
the same for both.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

from results.comparison.plane import Mark, Plane
from results.selection.grouping import family_of
from results.stats.delong import judged
from results.stats.roc import Difference

TOLERANCE = 0.05  # of the ASR before the defense, absolute


@dataclass(frozen=True, slots=True)
class Match:
    """Two attacks of one plane; differences are first minus second."""

    basis: Literal["m", "ASR"]
    first: Mark
    second: Mark

    @property
    def alone(self) -> bool:
        """One of the two has a single victim or model, so that a resample says nothing."""
        return self.first.alone or self.second.alone

    @property
    def gap(self) -> float:
        """ASR before the defense, first minus second."""
        return self.first.asr0 - self.second.asr0

    @property
    def eta(self) -> Difference:
        return judged(self.first.eta - self.second.eta, self.first.etas - self.second.etas)

    @property
    def rho(self) -> Difference:
        return judged(self.first.rho - self.second.rho, self.first.rhos - self.second.rhos)


def at_equal_m(plane: Plane) -> list[Match]:
    """All pairs of different attacks with the same number of poisoned images."""
    found = []
    for one, other in _families(plane):
        pairs = product(one, other)
        found += [Match("m", a, b) for a, b in pairs if a.m is not None and a.m == b.m]
    return found


def at_equal_asr(plane: Plane, tolerance: float = TOLERANCE) -> list[Match]:
    """Pairs of different attacks whose ASR before the defense differs by at most ``tolerance``.

    For each two attacks the budgets are paired off, nearest first: by the difference of ASR in
    whole points, then by the ratio of m. A budget is in one pair at most, so that no lucky model is
    used twice.
    """
    found = []
    for one, other in _families(plane):
        near = sorted(
            (p for p in product(one, other) if _asr_apart(*p) <= tolerance + 1e-9),
            key=lambda p: (
                round(_asr_apart(*p), 2),
                _ratio(*p),
                _asr_apart(*p),
            ),
        )
        used: set[int] = set()
        for a, b in near:
            if not {id(a), id(b)} & used:
                used |= {id(a), id(b)}
                found.append(Match("ASR", a, b))
    return found


def _families(plane: Plane) -> Iterable[tuple[list[Mark], list[Mark]]]:
    groups: dict[str, list[Mark]] = defaultdict(list)
    for mark in plane.marks:
        groups[family_of(mark.victim).attack].append(mark)
    return combinations(groups.values(), 2)


def _asr_apart(a: Mark, b: Mark) -> float:
    return abs(a.asr0 - b.asr0)


def _ratio(a: Mark, b: Mark) -> float:
    return abs(math.log(a.m / b.m)) if a.m and b.m else math.inf
