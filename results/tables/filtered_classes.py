"""What each data filter keeps of each class's clean rows: who pays for what it removes."""

from collections.abc import Sequence

import pandas as pd

from results.comparison.filtered_sets import filtered_sets
from results.tables._columns import frame, points
from results.tables._filters import SET_COLUMNS, of_set, settings_of
from trials.spec import Record

COLUMNS = (*SET_COLUMNS, "class", "clean rows kept (%)", "seeds", "settings")


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a class, filter, setting and rejection."""
    rows = []
    for s in filtered_sets(records):
        beside = {"seeds": len(s.scored), "settings": settings_of(s)}
        for label, share in s.kept.items():
            rows.append(
                {**of_set(s), "class": label, "clean rows kept (%)": points(share), **beside}
            )
    return frame(rows, COLUMNS)
