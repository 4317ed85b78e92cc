"""Named rules for which point of a curve counts: what a number means depends on how its point was
chosen.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, sections V-B (Δ, η) and V-E (Δ = 2 %).
Deviation: Δ is measured from the CDA at step 0, in absolute points, so step 0 always qualifies and
η never exceeds the ASR before the defense. The paper's own point is chosen with the attacker's
trigger on the test set; here that is ``oracle``, apart from the rules that a defender can follow.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import neg
from statistics import fmean

from results.selection.reconstructed import RECONSTRUCTED, counts, left_of, unlearns
from trials.catalog import unknown
from trials.curve import Curve
from trials.spec import Point, Record, SpecError

DEFAULT_RULE = "worst_kind_within_delta"
OWN_RULE = "reconstructed_within_delta"
WORST_RULE = "worst_trigger_within_delta"
OWN_RULES = (OWN_RULE, WORST_RULE)  # that look at the reconstructed trigger, where it counts
WHOLE = 0.95  # ASR from which a trigger is left whole, and how much more says nothing
OF_ATTACK = "asr/"  # before an attack's name, or a kind's: its own ASR, in a point's ``extra``
DELTA = 0.02  # largest loss of CDA allowed unless the trial says otherwise: 2 points
SLACK = 1e-9  # 0.97 - 0.02 is a little more than 0.95 in binary; that must not exclude 0.95
Rule = Callable[[Sequence[Point], float], Point]


@dataclass(frozen=True, slots=True)
class Pick:
    """The point that a rule takes from one record's curve."""

    record: Record
    point: Point
    rule: str


def min_asr_within_delta(curve: Sequence[Point], delta: float) -> Point:
    """Lowest ASR among points with CDA >= CDA at step 0 - Δ; ties: higher CDA, then fewer steps."""
    if isinstance(curve, Curve):  # no point is made but the one taken
        floor = curve.cdas[0] - delta - SLACK
        rows = zip(curve.asrs, map(neg, curve.cdas), curve.steps, range(len(curve)), strict=True)
        return curve[min(row for row in rows if -row[1] >= floor)[-1]]
    allowed = [p for p in curve if p.cda >= curve[0].cda - delta - SLACK]
    return min(allowed, key=lambda p: (p.asr, -p.cda, p.step))


def worst_trigger_within_delta(curve: Sequence[Point], delta: float) -> Point:
    """As ``min_asr_within_delta``; among points that leave some trigger whole, the lowest ASR of
    the reconstructed one.
    """
    allowed = [p for p in curve if p.cda >= curve[0].cda - delta - SLACK]
    return min(allowed, key=lambda p: (*order(p.asr, p.extra.get(RECONSTRUCTED)), -p.cda, p.step))


def order(asr: float, own: float | None) -> tuple[float, float]:
    """By what ``worst_trigger_within_delta`` orders: the ASR of the worst trigger, and where that
    is whole, ``own``, of the reconstructed one, if that counts.
    """
    return (asr, 0.0) if own is None or asr < WHOLE else (WHOLE, own)


def in_order(
    rule: str, asr: float, own: float | None, defense: str = ""
) -> tuple[float, float, float]:
    """By what settings are ordered, the lower the better: the ASR, and by
    ``worst_trigger_within_delta`` as ``order`` says. By the rules that look at the reconstructed
    trigger, what unlearns such triggers comes after all that leaves no trigger whole, or removes
    any of the reconstructed one, as copies understate what it leaves (docs/cifar10-gpu.md).
    """
    asr = round(asr, 12)
    if set_behind(rule, defense):
        return max(asr, WHOLE), max(asr, WHOLE), asr
    return (*order(asr, own), 0.0) if rule == WORST_RULE else (asr, 0.0, 0.0)


def set_behind(rule: str, defense: str) -> bool:
    """Whether the rule takes the defense only where no other is of use."""
    return rule in OWN_RULES and unlearns(defense)


def last_before_delta(curve: Sequence[Point], delta: float) -> Point:
    """The last point before the CDA that the defender can see first falls more than Δ below its
    start.

    It needs no trigger, so it can be followed on the real model. The CDA seen is ``val_cda``
    (held-out trusted images) where every point has it, else the curve's own.
    """
    seen = (
        [p.extra["val_cda"] for p in curve]
        if all("val_cda" in p.extra for p in curve)
        else [p.cda for p in curve]
    )
    fallen = (i for i, cda in enumerate(seen) if cda < seen[0] - delta - SLACK)
    return curve[next(fallen, len(curve)) - 1]


def last(curve: Sequence[Point], delta: float) -> Point:
    """The final recorded step, whatever it costs."""
    return curve[-1]


def oracle(curve: Sequence[Point], delta: float) -> Point:
    """Lowest ASR within Δ on the *test* set with the attacker's own trigger: nobody can follow this
    rule.
    """
    return min_asr_within_delta(curve, delta)


RULES: dict[str, Rule] = {
    DEFAULT_RULE: min_asr_within_delta,
    "mean_within_delta": min_asr_within_delta,
    OWN_RULE: min_asr_within_delta,
    WORST_RULE: worst_trigger_within_delta,
    **{f.__name__: f for f in (min_asr_within_delta, last_before_delta, last, oracle)},
}
# what these rules take for the ASR of copies that carry several kinds of trigger
_OF_KINDS: dict[str, Callable[[Iterable[float]], float]] = {
    DEFAULT_RULE: max,
    "mean_within_delta": fmean,
    OWN_RULE: max,
    WORST_RULE: max,
}
_ON_COPIES = ("tuning", "confirmation")


def kinds_of(point: Point) -> dict[str, float]:
    """The ASR of each kind of trigger, of copies, or of each attack of several on one victim."""
    kinds = _kinds(tuple(point.extra))
    return {kind: point.extra[name] for name, kind in kinds}


@lru_cache
def _kinds(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Those of a point's measurements that are of one kind, each with the kind."""
    return tuple((k, k.removeprefix(OF_ATTACK)) for k in names if k.startswith(OF_ATTACK))


def seen_by(
    rule: str, curve: Sequence[Point], game: str, records: Sequence[Record] = ()
) -> Sequence[Point]:
    """The curve as a rule reads it: on copies of several kinds of trigger, the worst kind's ASR, or
    the mean over kinds, is each point's; ``min_asr_within_delta`` takes the mean over copies.
    ``reconstructed_within_delta`` takes what is left of the trigger reconstructed from the model,
    where that counts, else the worst kind; ``worst_trigger_within_delta`` whichever is more.

    Args:
        rule: a name in ``RULES``.
        curve: of one record, or the mean of several.
        game: of the records.
        records: what the curve was made of.
    """
    made_of = _OF_KINDS.get(rule)
    if made_of is None or game not in _ON_COPIES:
        return curve
    if rule in OWN_RULES and counts(records):
        attack = _planted(records)
        return tuple(_beside_own(p, rule, attack) for p in curve)
    if rule == WORST_RULE:  # that of a trigger that does not count decides nothing
        curve = tuple(_without_own(p) for p in curve)
    names = curve.names if isinstance(curve, Curve) else None
    if isinstance(curve, Curve) and names is not None:
        kinds = [curve.besides(name) for name, _ in _kinds(names)]
        return curve.with_asrs(list(map(made_of, zip(*kinds, strict=True)))) if kinds else curve
    known = ((p, kinds_of(p)) for p in curve)
    return tuple(
        Point(p.step, p.cda, made_of(k.values()), p.seconds, p.extra) if k else p for p, k in known
    )


def _planted(records: Sequence[Record]) -> str:
    """The attack that poisoned the copies."""
    config = records[0].trial.self_poisoning
    return str(config.params.get("attack", "badnets")) if config else "badnets"


def _without_own(point: Point) -> Point:
    return replace(point, extra={k: v for k, v in point.extra.items() if k != RECONSTRUCTED})


def _beside_own(point: Point, rule: str, attack: str) -> Point:
    """The point with what the rule takes for its ASR where the reconstructed trigger counts: what
    is left of that, or the worst of it and the kinds planted. Of copies of one named attack that is
    the kind, so that both can be told.
    """
    kinds = kinds_of(point) or {attack: point.asr}
    own = left_of(point, point.asr)
    asr = max(own, *kinds.values()) if rule == WORST_RULE else own
    planted = {f"{OF_ATTACK}{kind}": left for kind, left in kinds.items()}
    return replace(point, asr=asr, extra={**point.extra, **planted})


def find_rule(name: str) -> Rule:
    """The rule of that name. Raises SpecError for an unknown one."""
    if name not in RULES:
        raise SpecError(unknown("rule", name, list(RULES)))
    return RULES[name]


def delta_of(record: Record) -> float:
    """Δ of the record's own game, a fraction; 0.02 where the game does not say."""
    return float(record.trial.game.params.get("delta", DELTA))


def curve_of(record: Record) -> Sequence[Point]:
    """The curve in step order, from step 0; a start that is only in the metrics is put in front.

    Raises:
        ValueError: a measurement is not finite; such a curve would win or lose by accident.
    """
    start = record.metrics
    if isinstance(record.curve, Curve) and (record.curve.steps[0] == 0 or "cda0" not in start):
        return record.curve  # in order, and finite
    curve = tuple(sorted(record.curve, key=lambda p: p.step))
    if curve and curve[0].step > 0 and "cda0" in start and "asr0" in start:
        extra = {"val_cda": start["val_cda0"]} if "val_cda0" in start else {}
        curve = (Point(0, start["cda0"], start["asr0"], extra=extra), *curve)
    for p in curve:
        if not (
            math.isfinite(p.cda)
            and math.isfinite(p.asr)
            and math.isfinite(p.extra.get("val_cda", 0.0))
        ):
            raise ValueError(
                f"trial {record.trial.id}: the measurement at step {p.step} is not finite"
            )
    return curve


def pick(record: Record, rule: str = DEFAULT_RULE, delta: float | None = None) -> Pick | None:
    """The point that ``rule`` takes from the record, or None where the trial failed, was pruned or
    has no curve.

    Args:
        record: any record with a curve.
        rule: a name in ``RULES``.
        delta: largest CDA loss allowed, a fraction; None takes the trial's own.

    Raises:
        SpecError: unknown rule, or ``oracle`` on a record that is not of the real attack.
        ValueError: a measurement is not finite.
    """
    take = find_rule(rule)
    if rule == "oracle" and record.trial.game.name != "robustness":
        others = ", ".join(r for r in RULES if r != "oracle")
        raise SpecError(
            f"the rule 'oracle' reads the real attack's test set, which a "
            f"{record.trial.game.name!r} record has not. "
            f"Use one of: {others}."
        )
    curve = curve_of(record) if record.status == "done" else ()
    curve = seen_by(rule, curve, record.trial.game.name, [record])
    return (
        Pick(record, take(curve, delta_of(record) if delta is None else delta), rule)
        if curve
        else None
    )
