"""The other defenses' winners beside the chosen one."""

from collections.abc import Sequence

from results.selection.labels import percent
from results.selection.rules import set_behind
from results.selection.winners import Winner


def alike(w: Winner, winners: Sequence[Winner]) -> list[str]:
    """Other defenses whose ASR lies below the upper end of the winner's interval."""
    if w.interval is None:
        return []
    others = [o for o in winners if o.defense != w.defense and o.within_delta]
    told = [o for o in others if not set_behind(o.rule, o.defense)]
    return [o.defense for o in told if o.eta <= w.interval.high]


def behind(w: Winner, winners: Sequence[Winner]) -> list[str]:
    """Why defenses that leave less of the planted triggers were not chosen; none where none is."""
    others = [o for o in winners if o.task == w.task and o.defense != w.defense]
    last = [o for o in others if set_behind(o.rule, o.defense) and o.within_delta]
    return [
        f"{o.defense} leaves less of the planted triggers ({percent(o.eta)} %), but unlearns "
        "triggers that it inverts, and copies understate what that leaves: it is taken only where "
        "nothing else helps."
        for o in last
        if o.eta < w.eta
    ]
