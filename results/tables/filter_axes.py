"""Data filters along what a sweep varies: attacks at once, the poisoned share, the imbalance of
classes.
"""

from collections.abc import Sequence

import pandas as pd

from results.comparison.filter_axes import AXES, Along, along
from results.comparison.filtered_sets import FilteredSet, filtered_sets
from results.tables._columns import frame, points
from results.tables._filters import of_set, settings_of
from trials.spec import Record

COLUMNS = (
    *("by", "at", "dataset", "model", "attack", "r (%)", "filter", "rejects", "victims"),
    *("mean ASR before (%)", "mean ASR (%)", "max ASR (%)"),
    *("poisoned rows removed (%)", "clean rows removed (%)", "least kept of a class (%)"),
    *("CDA lost (pp)", "settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a filter, setting and rejection at each place of each axis that varies; means over
    victims.
    """
    sets, rows = filtered_sets(records), []
    for axis in AXES:
        rows += [_row(one) for one in along(sets, axis)]
    return frame(rows, COLUMNS)


def _row(one: Along) -> dict[str, object]:
    first = one.sets[0]
    return {
        **{k: v for k, v in of_set(first).items() if k in COLUMNS},
        "attack": one.attacks or None,
        "by": one.axis.name,
        "at": one.at,
        "victims": len({s.victim.id for s in one.sets}),
        "mean ASR before (%)": points(one.before),
        "mean ASR (%)": points(one.left),
        "max ASR (%)": points(one.largest),
        "poisoned rows removed (%)": _points(one, "removed_poisoned"),
        "clean rows removed (%)": _points(one, "removed_clean"),
        "least kept of a class (%)": _points(one, "kept_min"),
        "CDA lost (pp)": points(one.mean(lambda s: s.cda_loss)),
        "settings": settings_of(first),
    }


def _points(one: Along, metric: str) -> float | None:
    def value(s: FilteredSet) -> float | None:
        return s.score(metric)

    return points(one.mean(value))
