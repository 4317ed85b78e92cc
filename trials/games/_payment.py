"""What a setting costs the given model, over all ways in which its trusted images are cut."""

import math
from dataclasses import dataclass

from trials.games._copy_set import CopySet, Given
from trials.reporting import reporter

SLACK = 1e-9  # 0.97 - 0.02 is a little more than 0.95 in binary; that must not exclude 0.95
FAR = 2  # times delta: what the first cut may cost for the others to run
FIRST, OTHERS = slice(0, 1), slice(1, None)


@dataclass(slots=True)
class EarlyStopping:
    """How many points in a row may lie beyond what is allowed."""

    patience: int
    beyond: int = 0

    @property
    def is_over(self) -> bool:
        return self.beyond > self.patience

    def over(self, lies_beyond: bool) -> bool:
        """Count a point; whether that was one too many."""
        self.beyond = self.beyond + 1 if lies_beyond else 0
        return self.is_over


@dataclass(frozen=True, slots=True)
class Payment:
    """The given model's repair by one setting.

    Attributes:
        copy_set: has the model, and the images of each cut.
        cda0: the model's CDA before any repair, mean over the cuts.
        delta: largest loss that is accepted.
        every: steps between two measurements.
    """

    copy_set: CopySet
    cda0: float
    delta: float
    every: int

    def paid(self, stop: EarlyStopping) -> dict[int, Given]:
        """What is measured of the model by step, until the CDA stays too low.

        The first of several cuts runs by itself, and the others not at all where it costs more than
        twice ``delta`` at every step: a few hundred images tell no more than that. Its points then
        stand for all.
        """
        cuts, share = self.copy_set.cuts, self.copy_set.share_of_given
        reporter.part("", 0, share / cuts)
        first = self._of(FIRST, stop, FAR if cuts > 1 else 1)
        far = self.cda0 - FAR * self.delta - SLACK
        if cuts == 1 or all(given.cda < far for given in first.values()):
            return first
        reporter.part("", share / cuts, share)
        others = self._of(OTHERS, EarlyStopping(stop.patience), FAR, until=max(first))
        stop.beyond, found = 0, dict[int, Given]()
        for step in sorted(first.keys() & others.keys()):
            cda = (first[step].cda + (cuts - 1) * others[step].cda) / cuts
            found[step] = Given(cda, first[step].extra)
            if stop.over(cda < self.cda0 - self.delta - SLACK):
                break
        return found

    def _of(
        self, cuts: slice, stop: EarlyStopping, times: int, until: float = math.inf
    ) -> dict[int, Given]:
        """The points of some cuts, as if these had the CDA of all before the repair."""
        apart = self.cda0 - self.copy_set.unrepaired(cuts) if self.copy_set.cuts > 1 else 0.0
        found = dict[int, Given]()
        for step, given in self.copy_set.cost(self.every, cuts):
            found[step] = Given(given.cda + apart, given.extra)
            low = found[step].cda < self.cda0 - times * self.delta - SLACK
            if stop.over(low) or step >= until:
                break
        return found
