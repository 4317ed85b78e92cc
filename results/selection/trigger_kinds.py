"""Which kinds of trigger the copies carried, and how much is left of each.

What removes one kind may leave another whole, so a repair that was shown on one kind alone says
nothing of others.
"""

from typing import NamedTuple

from results.selection.confirmation import HeldOutResult
from results.selection.forecast import OWN, VICTIMS, alike, forecast, known, scheme_of
from results.selection.reconstructed import family
from results.selection.rules import OWN_RULE, OWN_RULES
from results.selection.winners import Winner
from results.stats.intervals import Interval, wilson

WORKS = 0.5  # ASR that a planted backdoor must have before the defense to count
AGREE = 2  # kinds of which at most 5 % must be left in a model that is called repaired
Seen = Winner | HeldOutResult


class OfKind(NamedTuple):
    """ASR that is left of one kind of trigger, a fraction."""

    kind: str
    before: float
    asr: float
    interval: Interval | None  # 95 %, over the triggered images of a copy
    n_triggered: int | None


class Forecast(NamedTuple):
    """Where the ASR left of the real attack will lie, and how many pairs tell so."""

    interval: Interval
    pairs: int
    victims: int


def planted(w: Winner) -> tuple[str, ...]:
    """The kinds of trigger of the copies that the winner was chosen on; of a named attack, that."""
    params = w.trial.self_poisoning.params if w.trial.self_poisoning else {}
    return tuple(sorted(w.kinds)) or (str(params.get("attack", "badnets")),)


def weak(seen: Seen) -> dict[str, float]:
    """The kinds whose backdoors hardly worked before the defense, with their ASR: that little is
    left of them shows nothing.
    """
    return {kind: asr for kind, asr in seen.kinds0.items() if asr < WORKS}


def several(w: Winner, seen: Seen) -> bool:
    """Whether as many kinds as a repair has to be shown on were planted, and worked."""
    return len(planted(w)) - len(weak(seen)) >= AGREE


def by_kind(w: Winner, seen: Seen) -> list[OfKind]:
    """What is left of each kind, most first; ``seen`` is the winner as far as it was confirmed."""
    n = seen.n_planted
    left = seen.kinds or {planted(w)[0]: seen.eta}
    most_first = sorted(left.items(), key=lambda one: (-one[1], one[0]))
    return [
        OfKind(kind, seen.kinds0.get(kind, seen.asr0), asr, wilson(asr, n) if n else None, n)
        for kind, asr in most_first
    ]


def worst(seen: Seen) -> float:
    """ASR that is left of the kind of which most is, whatever the rule takes."""
    return max(seen.kinds.values(), default=seen.eta)


def costs_given(w: Winner) -> bool:
    """Whether the CDA is the given model's, repaired as the copies are; else it is the copies'."""
    return w.trial.game.params.get("cost", "copies") != "copies"


def by_own_trigger(w: Winner, seen: Seen) -> bool:
    """Whether the trigger that was reconstructed from the given model had a part in the choice."""
    return w.rule in OWN_RULES and seen.reconstructed is not None


def of_own_trigger(w: Winner, seen: Seen) -> bool:
    """Whether η is what is left of that trigger, as no planted one is left more."""
    return by_own_trigger(w, seen) and (w.rule == OWN_RULE or seen.reconstructed == seen.eta)


def real_asr(w: Winner, seen: Seen) -> Forecast | None:
    """Where the ASR left of the real attack will lie; None where too few pairs tell.

    It is made from pairs of one measure alone: of reconstructed triggers of the same form where one
    had a part in the choice, else of copies of the same scheme and kinds of trigger; never from
    those of this very victim.
    """
    if by_own_trigger(w, seen):
        pairs, eta = known(OWN, frozenset({seen.reconstructed_form})), seen.reconstructed or 0.0
    elif several(w, seen) and w.trial.self_poisoning:
        scheme = scheme_of(w.trial.self_poisoning.params)
        pairs, eta = known(scheme, frozenset(planted(w))), worst(seen)
    else:
        return None
    of, pairs = family(w.defense), tuple(p for p in pairs if p.victim != w.victim.id)
    interval = forecast(eta, of, pairs, victims=VICTIMS)
    if interval is None:
        return None
    used = alike(of, pairs, victims=VICTIMS)
    return Forecast(interval, len(used), len({p.victim for p in used}))
