"""Each attack under each data filter: how surely its rows are found, and what is left of it."""

from collections.abc import Sequence

import pandas as pd

from results.comparison.filtered_sets import FilteredSet, filtered_sets
from results.selection.labels import percents
from results.stats.intervals import wilson
from results.tables._columns import frame, points
from results.tables._filters import SET_COLUMNS, of_set, settings_of
from trials.spec import Record

COLUMNS = (
    *SET_COLUMNS,
    *("one attack", "its rows", "AUROC", "TPR at 1 % FPR (%)", "TPR at 5 % FPR (%)"),
    *("its rows removed (%)", "ASR before (%)", "ASR (%)", "95 % interval (%)"),
    *("triggered images", "seeds", "settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row an attack, filter, setting and rejection."""
    rows = []
    for s in filtered_sets(records):
        rows += [_row(s, attack) for attack in s.attacks]
    return frame(rows, COLUMNS)


def _row(s: FilteredSet, attack: str) -> dict[str, object]:
    area, left = s.score(f"auroc/{attack}"), s.asr(attack)
    n = s.after("n_triggered" if len(s.victim.attacks) == 1 else f"n_triggered/{attack}")
    number = s.score(f"m/{attack}")
    return {
        **of_set(s),
        "one attack": attack,
        "its rows": None if number is None else round(number),
        "AUROC": None if area is None else round(area, 4),
        "TPR at 1 % FPR (%)": points(s.score(f"tpr_1/{attack}")),
        "TPR at 5 % FPR (%)": points(s.score(f"tpr_5/{attack}")),
        "its rows removed (%)": points(s.score(f"removed/{attack}")),
        "ASR before (%)": points(s.asr_before(attack)),
        "ASR (%)": points(left),
        "95 % interval (%)": percents(wilson(left, n)) if n and left is not None else None,
        "triggered images": round(n) if n else None,
        "seeds": len(s.scored),
        "settings": settings_of(s),
    }
