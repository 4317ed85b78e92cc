"""The winners' settings in the layout of the paper's Table V: a row a setting, a column a dataset,
theirs beside ours.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Table V (r = 1 %). The long form is
``settings``.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pandas as pd

from results.selection.rules import DEFAULT_RULE
from results.tables import settings
from results.tables._columns import frame
from trials.spec import Record

KEYS = ("defense", "setting", "r (%)")
COLUMNS = (*KEYS, "rule")  # and two a dataset between them


def table(records: Sequence[Record], /, *, rule: str = DEFAULT_RULE) -> pd.DataFrame:
    """One row a defense, setting and r. Where victims of one dataset chose differently, all choices
    are listed.

    Raises:
        SpecError: unknown rule.
    """
    long = settings.table(records, rule=rule)
    datasets = sorted(set(long["dataset"]))
    ours: dict[tuple[str, ...], dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    theirs: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for row in long.to_dict("records"):
        key = tuple(row[k] for k in KEYS)
        if row["chosen here"] is not None:
            ours[key][row["dataset"]][row["chosen here"]] = None
        if row["Table V of the paper"] is not None:
            theirs[key][row["dataset"]] = row["Table V of the paper"]
    rows = []
    for key in dict.fromkeys([*ours, *theirs]):
        found: dict[str, Any] = dict(zip(KEYS, key, strict=True))
        for d in datasets:
            found[d] = " / ".join(ours[key][d]) or None
            found[f"{d}, paper"] = theirs[key].get(d)
        rows.append({**found, "rule": rule})
    columns = chain.from_iterable((d, f"{d}, paper") for d in datasets)
    return frame(rows, [*KEYS, *columns, "rule"])
