"""Which filter and repair a defender takes together, by what both leave of their own poison."""

from collections.abc import Iterable
from dataclasses import dataclass

from results.selection.configurations import of_game
from results.selection.filter_winner import LEAK, filter_winners
from results.selection.rules import OF_ATTACK, SLACK
from trials.spec import MethodConfig, Point, Record

NONE = "none"  # the defense that leaves a model as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPair:
    """A filter, a repair of the model of what it keeps, and where the repair stops.

    Attributes:
        record: of the game ``own_repair``.
        point: of its curve, the one that leaves least and costs no more than ``allowed``; never
            the start of a repair, which is the filter alone.
        allowed: accuracy that both may cost: Δ, or what the first filter alone costs, if that is
            larger.
    """

    record: Record
    point: Point
    allowed: float

    @property
    def repair(self) -> MethodConfig | None:
        """None for the filter alone."""
        return None if _alone(self.record) else self.record.trial.method

    @property
    def loss(self) -> float:
        """Accuracy lost on the images held back, by filter and repair, to the model of all rows."""
        return _loss(self.record, self.point)

    @property
    def within(self) -> bool:
        """It costs no more than is allowed."""
        return self.loss <= self.allowed + SLACK

    @property
    def each(self) -> dict[str, float]:
        """ASR of each of the defender's attacks."""
        rates = self.point.extra.items()
        return {k.removeprefix(OF_ATTACK): v for k, v in rates if k.startswith(OF_ATTACK)}

    @property
    def rank(self) -> tuple[bool, float, float, bool, int, str]:
        """Lower is better: within what is allowed, then the ASR left, then what is lost."""
        left = round(self.point.asr, 12), round(self.loss, 12)
        return not self.within, *left, bool(self.repair), self.point.step, self.record.trial.id


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTaken:
    """What the defender takes.

    Attributes:
        pair: a filter with a repair, or alone.
        alone: the filter that they would take without repairs.
        best: of all pairs, the one that leaves least within what is allowed.
    """

    pair: OwnPair
    alone: OwnPair
    best: OwnPair


def own_pairs(records: Iterable[Record]) -> list[OwnPair]:
    """Every filter and repair that was tried on the defender's own poison, the best first; none
    where the first filter alone was not.
    """
    records = list(records)
    done = [r for r in of_game(records, "own_repair") if r.status == "done" and r.curve]
    first = next(iter(filter_winners(records)), None)
    mine = (r for r in done if first and r.trial.victim.id == first.scored.trial.victim.id)
    alone = next(filter(_alone, mine), None)
    if alone is None:
        return []
    cost = _loss(alone, alone.curve[0])
    found = []
    for r in done:
        allowed = max(float(r.trial.game.params["delta"]), cost)
        points = r.curve if _alone(r) else [p for p in r.curve if p.step]
        of_record = [OwnPair(record=r, point=p, allowed=allowed) for p in points]
        found += sorted(of_record, key=_rank)[:1]
    return sorted(found, key=_rank)


def pair_taken(records: Iterable[Record]) -> PairTaken | None:
    """The best pair where it leaves less than the first filter alone by more than ``LEAK``, as the
    best of many is lower by chance; else that filter alone. None where that was not tried.
    """
    records = list(records)
    pairs, first = own_pairs(records), next(iter(filter_winners(records)), None)
    if not pairs or first is None:
        return None
    of_first = (p for p in pairs if p.record.trial.victim.id == first.scored.trial.victim.id)
    alone, best = next(p for p in of_first if p.repair is None), pairs[0]
    worth = alone.point.asr - best.point.asr > LEAK + SLACK
    return PairTaken(pair=best if worth else alone, alone=alone, best=best)


def _alone(record: Record) -> bool:
    return record.trial.method is None or record.trial.method.name == NONE


def _loss(record: Record, point: Point) -> float:
    return record.metrics["cda_before"] - point.cda


def _rank(pair: OwnPair) -> tuple[bool, float, float, bool, int, str]:
    return pair.rank
