"""What a winner leaves of each kind of trigger that its copies carried."""

from collections.abc import Iterable

import pandas as pd

from results.selection.labels import percents
from results.selection.trigger_kinds import OfKind
from results.tables._columns import frame, points

COLUMNS = (
    "kind of trigger",
    "ASR before (%)",
    "η: ASR left (%)",
    "95 % interval (%)",
    "triggered images",
)


def of(left: Iterable[OfKind]) -> pd.DataFrame:
    """One row a kind, in the order given; percent are floats, missing values None."""
    rows = [
        {
            "kind of trigger": one.kind,
            "ASR before (%)": points(one.before),
            "η: ASR left (%)": points(one.asr),
            "95 % interval (%)": percents(one.interval),
            "triggered images": one.n_triggered,
        }
        for one in left
    ]
    return frame(rows, COLUMNS)
