"""Which data filter a defender takes who knows of no poisoned row: by what each finds of their own
poison, and takes of clean rows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from results.selection.configurations import of_game
from trials.spec import LEARNED, Record

FEWEST = 3  # images that an attack of the defender's is stamped on: fewer show nothing of it
APART = 2.0  # times as much as of clean rows a filter finds of poison, or it is called blunt
LEAK = 0.05  # by which a trigger of the defender's may work better after the last training


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterWinner:
    """A filter, its setting and its threshold, as its defender sees it.

    Attributes:
        scored: the trial that scored the rows.
        trained: the training on what is kept; None where there is none.
    """

    scored: Record
    trained: Record | None = None

    @property
    def beta(self) -> float:
        """What the threshold may miss of an attack."""
        return float(self.scored.trial.game.params["beta"])

    @property
    def wanted(self) -> float:
        """Share that is promised of each of the defender's attacks: 1 - ``beta``, or, where one has
        few images, what they can show.
        """
        return self.scored.metrics.get("own_promised", 1 - self.beta)

    @property
    def recall(self) -> float:
        """The least share that is found of an attack of the defender's that was learned."""
        return self.scored.metrics["own_recall_min"]

    @property
    def fpr(self) -> float:
        """Share of clean rows that is removed, measured on the trusted images held back."""
        return self.scored.metrics["own_fpr"]

    @property
    def finds(self) -> bool:
        """Half of the defender's attacks were learned, and of each of those, enough is found, for
        the clean rows that are removed with it. The threshold is set so that enough is found, by
        any scores: what they take of clean rows tells good ones from others.
        """
        return self.known and not self.missed and not self.blunt

    @property
    def known(self) -> bool:
        """Half of the defender's attacks were learned."""
        return 2 * self.scored.metrics["own_learned"] >= len(self.attacks)

    @property
    def missed(self) -> list[str]:
        """Attacks that were learned (of all, if none was) and that it does not surely find: too
        little of them, or on fewer than ``FEWEST`` images.
        """
        of = self.scored.metrics
        learned = [k for k in self.attacks if k not in self.unlearned] or self.attacks
        return [
            k
            for k in learned
            if self.images(k) < FEWEST or of[f"own_recall/{k}"] < self.promised(k) - 1e-9
        ]

    def images(self, attack: str) -> float:
        """How many images that attack of the defender's is stamped on; infinite if unknown."""
        return self.scored.metrics.get(f"own_images/{attack}", math.inf)

    def promised(self, attack: str) -> float:
        """Share of that attack of the defender's that is to be found."""
        return self.scored.metrics.get(f"own_promised/{attack}", 1 - self.beta)

    @property
    def blunt(self) -> bool:
        """It finds little more of the defender's poison than it removes of clean rows."""
        return self.recall <= APART * self.fpr

    @property
    def attacks(self) -> list[str]:
        """The defender's attacks."""
        keys = self.scored.metrics
        return [k.removeprefix("own_recall/") for k in keys if k.startswith("own_recall/")]

    @property
    def unlearned(self) -> list[str]:
        """Those that the model did not learn: what the filter finds of their kind is not known."""
        asr = self.scored.metrics
        return [k for k in self.attacks if asr[f"own_learned/{k}"] < LEARNED]

    @property
    def few(self) -> list[str]:
        """Those of whose rows half or more are shifted copies, as there were too few images."""
        of = self.scored.metrics
        return [k for k in self.attacks if 2 * self.images(k) <= of.get(f"own_m/{k}", 1)]

    @property
    def rank(self) -> tuple[bool, float, float, str]:
        """Lower is better: finds them, takes few clean rows; else finds more than it takes."""
        miss = self.fpr if self.finds else self.fpr - self.recall
        return not self.finds, round(miss, 12), self.scored.metrics["removed"], self.scored.trial.id

    @property
    def cost(self) -> float | None:
        """CDA lost on the images held back, to the training on all rows; None without one."""
        if self.trained is None:
            return None
        return self.trained.metrics["cda_held_before"] - self.trained.metrics["cda_held"]

    @property
    def poisoned(self) -> float | None:
        """Share of the training set that may be poisoned, if what is poisoned is found as often as
        the defender's own; None where the filter finds no more of that than of clean rows.
        """
        recall, removed = self.scored.metrics["own_recall"], self.scored.metrics["removed"]
        if recall <= self.fpr:
            return None
        return min(1.0, max(0.0, (removed - self.fpr) / (recall - self.fpr)))


def filter_winners(records: Iterable[Record]) -> list[FilterWinner]:
    """Every filter that was tried with the defender's own poison in the set, the best first; the
    attackers' rows decide nothing.
    """
    records = list(records)
    trained = {
        r.trial.victim.id: r
        for r in of_game(records, "training")
        if r.status == "done" and "cda_held" in r.metrics
    }
    scored: Sequence[Record] = of_game(records, "filtering")
    found = [
        FilterWinner(scored=r, trained=trained.get(r.trial.victim.id))
        for r in scored
        if r.status == "done" and "own_recall_min" in r.metrics
    ]
    return sorted(found, key=lambda w: w.rank)
