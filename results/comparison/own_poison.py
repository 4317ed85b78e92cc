"""Whether the defender's own poison stands for an attacker's: tests that can fail.

(a) The scores of both have the same distribution: the Kolmogorov-Smirnov distance of each attack's.
(b) A threshold that finds 1 - β of the defender's attacks finds as much of real ones, in the mean
over them: that is what conformal prediction promises of poison like the defender's. (c) It removes
fewer rows than a fixed share does, and leaves no more. (d) Of a set without any attack it removes
little, and costs no accuracy.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from results.comparison.filtered_sets import DELTA, FilteredSet, filtered_sets
from results.selection.configurations import of_game
from trials.spec import RECALL, Record

FIXED = 0.4  # share of the rows that a threshold is compared with, as BaDLoss was published
FAR = 0.2  # a Kolmogorov-Smirnov distance of two sets of scores that count as alike
LITTLE = 0.1  # share of a clean set's rows
LEAST_PAIRS = 20  # of a victim and an attack, for (b) to be tested


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """One test's outcome for one filter; ``holds`` is None where there are too few ``pairs``."""

    test: str
    filter: str
    what: str
    pairs: int
    value: float
    needed: str
    holds: bool | None


def validities(records: Iterable[Record]) -> list[Validity]:
    """The outcomes of (a) to (d), for each filter of which there are such trials."""
    records = list(records)
    sets = [s for s in filtered_sets(records) if s.filtering.self_poisoning]
    of_filter: dict[str, list[Record]] = defaultdict(list)
    for r in of_game(records, "filtering"):
        if r.status == "done" and r.trial.victim.filter and "own_recall" in r.metrics:
            of_filter[r.trial.victim.filter.method.name].append(r)
    found = list[Validity]()
    for name, scored in sorted(of_filter.items()):
        mine = [s for s in sets if s.filtering.method.name == name and s.scored and s.trained]
        found += [*_alike(name, scored), *_covered(name, scored)]
        found += [*_cheaper(name, mine), *_clean(name, mine)]
    return sorted(found, key=lambda v: (v.test, v.filter))


def _alike(name: str, scored: Sequence[Record]) -> list[Validity]:
    of_attack: dict[str, dict[str, float]] = defaultdict(dict)
    for r in scored:
        for key, value in r.metrics.items():
            if key.startswith("ks/"):
                of_attack[key.removeprefix("ks/")][_scores_of(r)] = value
    return [
        Validity(
            test="a",
            filter=name,
            what=f"distance of the scores of {attack} and own poison",
            pairs=len(values),
            value=fmean(values.values()),
            needed=f"at most {FAR}",
            holds=fmean(values.values()) <= FAR,
        )
        for attack, values in sorted(of_attack.items())
    ]


def _scores_of(record: Record) -> str:
    """Equal for trials that differ only in how much they remove."""
    victim = record.trial.victim
    assert victim.filter is not None
    return replace(victim, filter=replace(victim.filter, reject=FIXED, threshold={})).id


def _covered(name: str, scored: Sequence[Record]) -> list[Validity]:
    """By β; an attack on a victim counts once, with the mean over seeds, r and settings."""
    shares: dict[float, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in scored:
        filtering = r.trial.victim.filter
        if filtering is None or filtering.reject != RECALL or filtering.threshold.get("quota"):
            continue
        beta = float(filtering.threshold.get("beta", 0.1))
        if r.metrics.get("own_promised", 1 - beta) < 1 - beta - 1e-9:
            continue  # too few images were stamped: less was promised
        attacked = replace(r.trial.victim, filter=None).id
        for key, value in r.metrics.items():
            if key.startswith("removed/"):
                shares[beta][attacked, key].append(value)
    return [_found(name, beta, list(map(fmean, shares[beta].values()))) for beta in sorted(shares)]


def _found(name: str, beta: float, shares: Sequence[float]) -> Validity:
    """The mean share found, one for each attack on a victim, beside the share that is promised."""
    error = stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else 0.0
    needed = 1 - beta - 1.64 * error
    return Validity(
        test="b",
        filter=name,
        what=f"share found of attacks, where {1 - beta:.0%} is promised",
        pairs=len(shares),
        value=fmean(shares),
        needed=f"at least {needed:.3g}, of {LEAST_PAIRS} pairs or more",
        holds=fmean(shares) >= needed - 1e-9 if len(shares) >= LEAST_PAIRS else None,
    )


def _cheaper(name: str, sets: Sequence[FilteredSet]) -> list[Validity]:
    """On victims of one attack, paired by victim, r, seed and settings; each β is a pair."""
    adaptive, fixed = list[tuple[str, FilteredSet]](), dict[str, FilteredSet]()
    for s in sets:
        if len(s.victim.attacks) == 1 and not s.filtering.threshold.get("quota"):
            same = replace(s.victim, filter=replace(s.filtering, reject=0.0, threshold={})).id
            if s.reject == RECALL:
                adaptive.append((same, s))
            elif s.reject == FIXED:
                fixed[same] = s
    pairs = [(s, fixed[same]) for same, s in adaptive if same in fixed]
    asr = [max(a.asrs) - max(f.asrs) for a, f in pairs]
    removed = [_less(a.score("removed"), f.score("removed")) for a, f in pairs]
    if not pairs:
        return []
    left, fewer = fmean(asr), fmean(removed)
    return [
        Validity(
            test="c",
            filter=name,
            what=f"ASR more than a fixed share leaves, with {-fewer:.1%} fewer rows removed",
            pairs=len(pairs),
            value=left,
            needed="at most 0, and fewer rows",
            holds=left <= 1e-9 and fewer < 0,
        )
    ]


def _less(one: float | None, other: float | None) -> float:
    return (one or 0.0) - (other or 0.0)


def _clean(name: str, sets: Sequence[FilteredSet]) -> list[Validity]:
    """On victims that nobody attacks."""
    mine = [s for s in sets if not s.victim.attacks and s.reject == RECALL]
    if not mine:
        return []
    removed = fmean(s.score("removed") or 0.0 for s in mine)
    lost = fmean(s.cda_loss or 0.0 for s in mine)
    return [
        Validity(
            test="d",
            filter=name,
            what=f"share removed of a clean set, with {100 * lost:.1f} points of CDA lost",
            pairs=len(mine),
            value=removed,
            needed=f"at most {LITTLE}, and {DELTA:.0%} of CDA",
            holds=removed <= LITTLE and lost <= DELTA + 1e-9,
        )
    ]
