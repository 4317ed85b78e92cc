"""Filters, repairs and pairs of both: the largest ASR that is left, CDA, and the share of rows
removed.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.comparison.filters_and_repairs import Treatment, Treatments, treatments
from results.selection.labels import attack, rejection, settings
from results.tables._columns import frame, points
from trials.spec import Record

COLUMNS = (
    *("dataset", "model", "attack", "r (%)", "what", "filter", "rejects", "repair"),
    *("max ASR (%)", "sd (pp)", "mean ASR (%)", "CDA (%)", "CDA lost (pp)", "removed (%)"),
    *("within 2 points", "on the front", "victims", "seeds", "failed"),
    *("filter's settings", "repair's settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a treatment, the one that leaves least first; numbers are means over victims."""
    rows = []
    for found in treatments(records):
        front = {id(t) for t in found.front}
        rows += [_row(found, t, id(t) in front) for t in found.found]
    return frame(rows, COLUMNS)


def _row(found: Treatments, t: Treatment, on_front: bool) -> dict[str, Any]:
    filtering, defense = t.filtering, t.defense
    return {
        **of_question(found),
        "what": t.kind,
        "filter": t.filter_name or "none",
        "rejects": rejection(filtering) if filtering else "nothing",
        "repair": defense.name if defense else "none",
        "max ASR (%)": points(t.asr),
        "sd (pp)": points(t.asr_sd),
        "mean ASR (%)": points(t.mean_asr),
        "CDA (%)": points(t.cda),
        "CDA lost (pp)": points(t.loss),
        "removed (%)": points(t.removed),
        "within 2 points": t.within_delta,
        "on the front": on_front,
        "victims": len(t.outcomes),
        "seeds": t.seeds,
        "failed": t.failed,
        "filter's settings": settings(filtering.method) if filtering else "",
        "repair's settings": settings(defense) if defense else "",
    }


def of_question(found: Treatments) -> dict[str, Any]:
    """Data set, model, attacks and r in percent."""
    return {
        "dataset": found.victim.dataset.name,
        "model": found.victim.model.name,
        "attack": attack(found.victim),
        "r (%)": 100 * found.trusted,
    }
