"""Settings of detectors on self-poisoned copies, the one that was used first.

Source: see ``results.comparison.tuned_detectors``.
"""

from collections.abc import Sequence

import pandas as pd

from results.comparison.tuned_detectors import tuned_detectors
from results.selection.labels import settings
from results.tables._columns import frame, points
from trials.spec import Record

COLUMNS = (
    "detector",
    "repaired by",
    "settings",
    "AUC over classes (%)",
    "margin",
    "copies",
    "seeds",
    "failed",
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a setting; the AUC is the share of a copy's other classes that score below the
    planted target.
    """
    rows = [
        {
            "detector": d.detector.name,
            "repaired by": d.repair.name if d.repair else None,
            "settings": settings(d.detector),
            "AUC over classes (%)": points(d.auc),
            "margin": round(d.margin, 4),
            "copies": d.n_copies,
            "seeds": d.n_seeds,
            "failed": d.failed,
        }
        for d in tuned_detectors(records)
    ]
    return frame(rows, COLUMNS)
