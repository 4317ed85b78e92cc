"""Winners of a sweep in a store, with the curves alone of configurations that can win.

A configuration's ASR cannot be lower than its bound: at each step the worst kind's ASR is at least
the mean over all copies, which the store knows by itself, and a mean over seeds, of a kind over
those that have it, is at least its largest part.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from results.selection.configurations import SelectionTask, task_of
from results.selection.rules import DEFAULT_RULE, RULES, find_rule
from results.selection.winners import Winner, winners
from results.store import Store
from results.store.bulk import Reader, parts_of, uncollected
from results.store.outcomes import Outcome
from results.store.queries import SweepRow
from trials.json_forms import method_config_from_json

BOUNDED = (DEFAULT_RULE, "min_asr_within_delta")  # rules that take the lowest ASR, of these kinds
_SLACK = 1e-9  # of a mean's rounding, and of ranks'
Tried = list[Outcome]  # of one configuration
Groups = dict[tuple[SelectionTask, str], list[Tried]]  # by defense


def rule_of(sweep: SweepRow) -> str:
    """The rule that a sweep itself chooses by; the default where none is stored that is known."""
    own = sweep.spec.get("rule")
    return own if isinstance(own, str) and own in RULES else DEFAULT_RULE


def stored_winners(store: Store, sweep: str, rule: str = DEFAULT_RULE) -> list[Winner]:
    """``winners`` of the sweep's records.

    Raises:
        SpecError: unknown rule, or a record that is none.
        ValueError: a measurement is not finite, of a configuration that can win.
    """
    find_rule(rule)
    game = "robustness" if rule == "oracle" else "tuning"
    if rule not in BOUNDED:
        return winners(store.records(sweep, game), rule)
    try:
        with uncollected():
            groups = _groups(store.outcomes(sweep, game))
    except (KeyError, TypeError, ValueError, AttributeError):  # not as this version writes trials
        return winners(store.records(sweep, game), rule)
    lowest = map(_lowest, groups.values())
    reached = _eta(winners(store.records_of(_ids(lowest)), rule))
    kept: list[Tried] = []
    for key, tried in groups.items():
        most = reached.get(key, math.inf) + _SLACK
        kept += [own for own in tried if _bound(own) <= most or _of_one_point(own)]
    found = winners(store.records_of(_ids(kept)), rule)
    return [_counted(w, groups[w.task, w.defense]) for w in found]


def _counted(w: Winner, tried: Sequence[Tried]) -> Winner:
    """The winner, of all that were tried."""
    failed, pruned = _count(tried, "failed"), _count(tried, "pruned")
    return replace(w, tried=len(tried), failed=failed, pruned=pruned)


def _groups(found: Iterable[Outcome]) -> Groups:
    """Raises ValueError for a trial that is not written as this version does."""
    reader, names = Reader(), dict[str, tuple[str, str]]()
    tasks: dict[tuple[str, ...], SelectionTask | None] = {}
    groups: dict[tuple[SelectionTask, str], dict[str, Tried]] = defaultdict(dict)
    for one in found:
        parts = parts_of(one.spec)
        shared = tuple(parts[name] for name in ("victim", "trusted", "game", "plant"))
        if shared not in tasks:
            trial = reader.trial(one.trial_id, one.spec)
            tasks[shared] = None if trial.victim.filter else task_of(trial)
        task, text = tasks[shared], parts["method"]
        if task is None or text == "null":
            continue
        if text not in names:
            method = method_config_from_json(json.loads(text))
            names[text] = method.name, repr(method.identity())
        defense, identity = names[text]
        groups[task, defense].setdefault(identity, []).append(one)
    return {key: list(tried.values()) for key, tried in groups.items()}


def _finished(own: Tried) -> Tried:
    return [one for one in own if one.status == "done" and one.points]


def _bound(own: Tried) -> float:
    """What the configuration's ASR is at least; infinite where nothing finished."""
    done = _finished(own)
    if any(one.first for one in done):  # the start is in the metrics
        return -math.inf
    return max((one.least or 0.0 for one in done), default=math.inf) / max(1, len(done))


def _lowest(tried: Sequence[Tried]) -> Tried:
    """The configuration with the lowest bound, of those of which no seed was lost where there are
    such.
    """
    return min(tried, key=lambda own: (any(o.status != "done" for o in own), _bound(own)))


def _of_one_point(own: Tried) -> bool:
    """What costs too much is not run on the copies; such configurations are counted."""
    return {one.points for one in _finished(own)} == {1}


def _eta(found: Iterable[Winner]) -> dict[tuple[SelectionTask, str], float]:
    return {(w.task, w.defense): w.eta for w in found}


def _ids(kept: Iterable[Tried]) -> list[str]:
    return [one.trial_id for one in chain.from_iterable(kept)]


def _count(tried: Iterable[Tried], status: str) -> int:
    return sum(one.status == status for one in chain.from_iterable(tried))
