"""What a setting will leave of a real attack, as far as pairs of copies and real attacks tell.

Source: Lei et al. 2018, 'Distribution-Free Predictive Inference for Regression', arXiv:1604.04173
(split conformal prediction), here on the signed differences, each side by itself.
Deviation: pairs of one victim are alike, so that the promised share holds over victims only where
there are many; the share that was covered on victims left out stands beside it in the docs.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from results.reference import load

LEVEL = 0.9  # share of real attacks that the interval is to hold
INVERSION = "inversion"  # copies understate what this family leaves, so it is never pooled
PAIRS = "prediction_pairs"


class Known(NamedTuple):
    """One setting on copies and on a real attack: ASR left, fractions."""

    victim: str
    scheme: str
    family: str
    eta_copy: float  # of the worst kind of trigger
    eta_real: float


class Forecast(NamedTuple):
    """The interval of the ASR left of the real attack, fractions, and what it was made from."""

    low: float
    high: float
    pairs: int
    victims: int


@lru_cache
def known(scheme: str, kinds: frozenset[str]) -> tuple[Known, ...]:
    """The pairs that come with the package, of copies poisoned by ``scheme`` that carried these
    kinds of trigger: the worst of more kinds is a larger number.
    """
    frame = load(PAIRS)
    alike = frame["kinds"] == "+".join(sorted(kinds))
    some = frame[alike & (frame["scheme"] == scheme) & (frame["family"] != "control")]
    columns = (some[c] for c in ("victim", "scheme", "family"))
    etas = (some[c].astype(float) for c in ("eta_copy_worst", "eta_real"))
    return tuple(Known(*row) for row in zip(*columns, *etas, strict=True))


def forecast(
    eta: float, family: str, pairs: Sequence[Known], level: float = LEVEL
) -> Forecast | None:
    """Where the ASR left of the real attack will lie, of a setting that leaves ``eta`` of the
    copies' worst kind.

    Pairs of the family count where there are enough of them, else those of all families but
    inversion's.

    Returns:
        None where there are too few pairs for the level.
    """
    own = [p for p in pairs if p.family == family]
    alike = [p for p in pairs if p.family != INVERSION] if family != INVERSION else []
    for group in (own, alike):
        apart = sorted(p.eta_real - p.eta_copy for p in group)
        rank = math.ceil((len(apart) + 1) * (1 + level) / 2)  # of the upper end, from 1
        if apart and rank <= len(apart):
            low, high = eta + apart[len(apart) - rank], eta + apart[rank - 1]
            low, high = (min(max(end, 0.0), 1.0) for end in (low, high))
            return Forecast(low, high, len(group), len({p.victim for p in group}))
    return None
