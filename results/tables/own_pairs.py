"""What a defender sees of filters and repairs together: what both leave of their own poison.

Source: this project's; nothing is published of it.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.selection.labels import rejection, settings
from results.selection.own_pairs import OwnPair, own_pairs
from results.tables._columns import frame, of_victim, points
from results.tables._filters import SET_COLUMNS
from trials.spec import Record

COLUMNS = (
    *SET_COLUMNS,
    *("repair", "stop at step", "own ASR left (%)", "CDA (%)", "CDA lost (pp)", "allowed (pp)"),
    *("left of each", "settings", "repair's settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a filter and repair, the one that leaves least within Δ first."""
    return frame(list(map(_row, own_pairs(records))), COLUMNS)


def _row(pair: OwnPair) -> dict[str, Any]:
    trial, repair = pair.record.trial, pair.repair
    filtering = trial.victim.filter
    assert filtering is not None
    return {
        **of_victim(trial.victim, filtering.trusted),
        "filter": filtering.method.name,
        "rejects": rejection(filtering),
        "repair": repair.name if repair else "none",
        "stop at step": pair.point.step,
        "own ASR left (%)": points(pair.point.asr),
        "CDA (%)": points(pair.point.cda),
        "CDA lost (pp)": points(pair.loss),
        "allowed (pp)": points(pair.allowed),
        "left of each": ", ".join(f"{k} {100 * v:.0f}" for k, v in pair.each.items()),
        "settings": settings(filtering.method) or None,
        "repair's settings": (settings(repair) or None) if repair else None,
    }
