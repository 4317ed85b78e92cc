"""What a setting will leave of a real attack, as far as pairs of copies and real attacks tell.

Source: Lei et al. 2018, 'Distribution-Free Predictive Inference for Regression', arXiv:1604.04173
(split conformal prediction), here on the signed differences, each side by itself.
Deviation: pairs of one victim are alike, so that the promised share holds over victims only where
there are many; the share that was covered on victims left out stands beside it in the docs.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from results.reference import load
from results.stats.intervals import Interval
from trials.later import LATER
from trials.spec import Scalar

SHARE = 0.1  # of a batch that is stamped, where self-poisoning says nothing else
LEVEL = 0.9  # share of real attacks that the interval is to hold
INVERSION = "inversion"  # copies understate what this family leaves, so it is never pooled
OWN = "reconstructed"  # the scheme of pairs that no copy was needed for; their kind is its form
VICTIMS = 5  # on which the pairs of a forecast have to lie: those of one are alike
PAIRS = "prediction_pairs"


def scheme_of(params: Mapping[str, Scalar]) -> str:
    """How self-poisoning with these settings is called among the pairs: 'distilled', or 'distilled,
    5 % stamped' where the share of a batch is not the default. Stored before there were schemes,
    they name none: their copies are those of 'labels'.
    """
    stored = {**LATER["self_poison"], **params}
    share, name = float(stored.get("share", SHARE)), str(stored["scheme"])
    return name if share == SHARE else f"{name}, {100 * share:g} % stamped"


class Known(NamedTuple):
    """One setting on copies, or on the given model with its reconstructed trigger, and on a real
    attack: ASR left, fractions.
    """

    victim: str
    scheme: str
    family: str
    eta_copy: float  # of the worst kind of trigger
    eta_real: float


@lru_cache
def known(scheme: str, kinds: frozenset[str]) -> tuple[Known, ...]:
    """The pairs that come with the package, of copies poisoned by ``scheme`` that carried these
    kinds of trigger: the worst of more kinds is a larger number.
    """
    carried = "+".join(sorted(kinds))
    return tuple(
        Known(
            victim=row["victim"],
            scheme=scheme,
            family=row["family"],
            eta_copy=float(row["eta_copy_worst"]),
            eta_real=float(row["eta_real"]),
        )
        for row in load(PAIRS)
        if (row["kinds"], row["scheme"]) == (carried, scheme) and row["family"] != "control"
    )


def alike(
    family: str, pairs: Sequence[Known], level: float = LEVEL, victims: int = 1
) -> list[Known]:
    """The pairs that a forecast is made from: those of the family where there are enough of them,
    else those of all families but inversion's; none where these are too few for the level, or lie
    on fewer victims.
    """
    own = [p for p in pairs if p.family == family]
    others = [p for p in pairs if p.family != INVERSION] if family != INVERSION else []

    def enough(group: Sequence[Known]) -> bool:
        return _rank(len(group), level) <= len(group) and len({p.victim for p in group}) >= victims

    return next(filter(enough, (own, others)), [])


def _rank(n: int, level: float) -> int:
    """Of the interval's upper end among ``n`` sorted differences, from 1."""
    return math.ceil((n + 1) * (1 + level) / 2)


def forecast(
    eta: float, family: str, pairs: Sequence[Known], level: float = LEVEL, victims: int = 1
) -> Interval | None:
    """Where the ASR left of the real attack will lie, of a setting that leaves ``eta`` of the
    copies' worst kind, or of the reconstructed trigger where the pairs are of that.

    Returns:
        None where there are too few pairs for the level, or too few victims.
    """
    apart = sorted(p.eta_real - p.eta_copy for p in alike(family, pairs, level, victims))
    if not apart:
        return None
    rank = _rank(len(apart), level)
    low, high = eta + apart[len(apart) - rank], eta + apart[rank - 1]
    return Interval(min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0))
