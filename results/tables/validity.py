"""Whether the defender's poison stands for an attacker's: four tests of thresholds that it sets.

Source: this project's; nothing is published of it.
"""

from collections.abc import Sequence

import pandas as pd

from results.comparison.own_poison import validities
from results.tables._columns import frame
from trials.spec import Record

COLUMNS = ("test", "filter", "what", "pairs", "value", "needed", "holds")


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a test and filter."""
    rows = [
        {
            "test": v.test,
            "filter": v.filter,
            "what": v.what,
            "pairs": v.pairs,
            "value": round(v.value, 4),
            "needed": v.needed,
            "holds": v.holds,
        }
        for v in validities(records)
    ]
    return frame(rows, COLUMNS)
