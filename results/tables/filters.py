"""Data filters: what their scores find, what was removed, and what the model trained on the rest
obeys.

Source: the comparison is BaDLoss's (mean ASR over attacks, clean accuracy). Deviation: the largest
ASR stands beside the mean, and what is kept of a class counts its clean rows.
"""

from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from results.comparison.filtered_sets import FilteredSet, filtered_sets
from results.tables._columns import frame, points
from results.tables._filters import SET_COLUMNS, of_set, settings_of
from trials.spec import Record

COLUMNS = (
    *SET_COLUMNS,
    *("AUROC", "TPR at 1 % FPR (%)", "TPR at 5 % FPR (%)", "removed (%)"),
    *("poisoned rows removed (%)", "clean rows removed (%)"),
    *("least kept of a class (%)", "most kept of a class (%)"),
    *("max ASR (%)", "mean ASR (%)", "CDA (%)", "CDA lost (pp)", "within 2 points"),
    *("seeds", "failed", "settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a filter, setting and rejection, the one that leaves least first."""
    return frame([_row(s) for s in filtered_sets(records)], COLUMNS)


def _row(s: FilteredSet) -> dict[str, object]:
    area = s.score("auroc")
    return {
        **of_set(s),
        "AUROC": None if area is None else round(area, 4),
        "TPR at 1 % FPR (%)": points(s.score("tpr_1")),
        "TPR at 5 % FPR (%)": points(s.score("tpr_5")),
        "removed (%)": points(s.score("removed")),
        "poisoned rows removed (%)": points(s.score("removed_poisoned")),
        "clean rows removed (%)": points(s.score("removed_clean")),
        "least kept of a class (%)": points(s.score("kept_min")),
        "most kept of a class (%)": points(s.score("kept_max")),
        "max ASR (%)": points(max(s.asrs)) if s.asrs and s.victim.attacks else None,
        "mean ASR (%)": points(fmean(s.asrs)) if s.asrs and s.victim.attacks else None,
        "CDA (%)": points(s.after("cda")),
        "CDA lost (pp)": points(s.cda_loss),
        "within 2 points": s.within_delta if s.trained else None,
        "seeds": max(len(s.scored), len(s.trained)),
        "failed": s.failed,
        "settings": settings_of(s),
    }
