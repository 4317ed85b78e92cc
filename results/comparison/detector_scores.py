"""One attack under one detector: its models' scores, and what follows from them.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Algorithm 2 (the detection game).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import NamedTuple

import numpy as np

from results.selection.grouping import AttackConfig, budget
from results.stats import roc
from results.stats.intervals import Interval, mean_sd, wilson
from trials.spec import MethodConfig, Victim, derive

FEW = 20  # models a side; with fewer, an AUC's standard error is .07 and more


class Spread(NamedTuple):
    """Over models."""

    mean: float
    sd: float | None  # None for a single model
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One attack under one detector; scores by victim's id, each a mean over the detector's own
    seeds.
    """

    attack_config: AttackConfig
    victim: Victim  # one of the attacked ones
    detector: MethodConfig
    method: MethodConfig | None  # the defense whose repaired model the detector was given
    trusted: float  # r
    panel: str  # id of everything but the attack: detector, repair, r, the game's settings
    poisoned: Mapping[str, float]
    clean: Mapping[str, float]
    refused: int  # finished rows without a finite score, poisoned and clean
    failed: int  # rows that failed or were pruned
    # by poisoned victim: located (share of its rows), cosine, iou
    facts: Mapping[str, Mapping[str, float]]

    @property
    def m(self) -> int | None:
        return budget(self.victim)

    @property
    def few(self) -> bool:
        """Fewer than 20 models on a side: the interval says little, and the number less."""
        return min(len(self.poisoned), len(self.clean)) < FEW

    @property
    def rho(self) -> float | None:
        """AUC, may lie below 0.5; None where a side has no model."""
        return roc.auc(*self.sides) if self.poisoned and self.clean else None

    @property
    def sides(self) -> tuple[roc.Floats, roc.Floats]:
        """Scores of poisoned and clean models, each in the order of their ids."""
        poisoned = np.array([self.poisoned[k] for k in sorted(self.poisoned)])
        return poisoned, np.array([self.clean[k] for k in sorted(self.clean)])

    @property
    def located(self) -> float | None:
        """Share of poisoned models of which the true target is the most suspicious class; None if
        not recorded.
        """
        seen = [f["located"] for f in self.facts.values() if "located" in f]
        return fmean(seen) if seen else None

    @property
    def located_interval(self) -> Interval | None:
        n = sum("located" in f for f in self.facts.values())
        return None if self.located is None else wilson(self.located, n)

    def spread(self, fact: str) -> Spread | None:
        """Of ``cosine`` or ``iou`` between found and true trigger, over models; None where none has
        it.
        """
        seen = [f[fact] for f in self.facts.values() if fact in f]
        return Spread(*mean_sd(seen), len(seen)) if seen else None

    def rho_interval(self, draws: int = roc.DRAWS, seed: int = 0) -> Interval | None:
        """95 %, over models; None below two models a side."""
        if min(len(self.poisoned), len(self.clean)) < 2:
            return None
        return roc.settled(self.draws(draws, seed), roc.wins(*self.sides))

    def draws(self, draws: int = roc.DRAWS, seed: int = 0) -> roc.Floats:
        """ρ of each resample of models; what shares models shares their resamples."""
        counts = (resampled(s, draws, seed) for s in (self.poisoned, self.clean))
        return roc.auc_draws(roc.wins(*self.sides), *counts)

    def tpr(self, fpr: float = 0.05) -> float | None:
        """Share of poisoned models flagged while at most ``fpr`` of the clean ones are."""
        return roc.tpr_at(*self.sides, fpr) if self.poisoned and self.clean else None


def resampled(ids: Iterable[str], draws: int, seed: int) -> roc.Floats:
    """(draws, n) counts of these models in sorted order.

    The same models always get the same resamples.
    """
    return _resampled(tuple(sorted(ids)), draws, seed)


@lru_cache(256)
def _resampled(ids: tuple[str, ...], draws: int, seed: int) -> roc.Floats:
    counts = roc.resamples(len(ids), draws, np.random.default_rng(derive(seed, *ids)))
    counts.flags.writeable = False  # the cache hands the same array to every caller
    return counts
