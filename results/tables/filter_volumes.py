"""Each filter's front by its hypervolume, alone and with repairs: more is better for the defender.

The box ends at an ASR of 100 %, 10 points of CDA lost and all rows removed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from results.comparison.filters_and_repairs import Treatments, treatments, volume
from results.tables._columns import frame
from results.tables.filters_and_repairs import of_question
from trials.spec import Record

NO_FILTER, ALL = "none", "all of them"
COLUMNS = (
    *("dataset", "model", "attack", "r (%)", "filter", "points"),
    *("hypervolume alone", "hypervolume with repairs"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a filter with all its settings and rejections, the largest volume first; one of no
    filter, and one of all.
    """
    rows = list[dict[str, Any]]()
    for found in treatments(records):
        rows += sorted(_rows(found), key=lambda row: -max(row[c] or 0.0 for c in COLUMNS[-2:]))
    return frame(rows, COLUMNS)


def _rows(found: Treatments) -> Iterator[dict[str, Any]]:
    """Doing nothing belongs to every row, as any defender can."""
    repaired = bool(found.of("repair", "pair"))
    names = [t.filtering.method.name for t in found.of("filter") if t.filtering]
    for name in (ALL, NO_FILTER, *dict.fromkeys(names)):
        own = [t for t in found.found if t.whole and name in (ALL, t.filter_name or NO_FILTER)]
        alone = [t for t in own if not t.defense]
        untreated = found.of("nothing")
        yield {
            **of_question(found),
            "filter": name,
            "points": len(own),
            "hypervolume alone": round(volume([*alone, *untreated]), 4),
            "hypervolume with repairs": round(volume([*own, *untreated]), 4) if repaired else None,
        }
