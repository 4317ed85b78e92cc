"""The oracle: the least ASR that each defense could have reached on the real attack, had the
trigger been known.

A lower bound to hold the realisable numbers against, never one to report as a defense's own. It
stands in a table of its own so that nobody mixes the two.
"""

from collections.abc import Sequence

import pandas as pd

from results.selection.labels import percents, settings
from results.selection.winners import winners
from results.tables._columns import frame, of_victim, points
from trials.spec import Record

COLUMNS = (
    *("dataset", "model", "attack", "victim seed", "r (%)", "defense"),
    *("oracle η (%)", "95 % interval (%)", "sd (pp)", "triggered images", "seeds", "tried"),
    *("oracle CDA (%)", "CDA lost (pp)", "oracle step", "rule", "settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a defense and task of the real attack, lowest oracle η first."""
    rows = [
        {
            **of_victim(w.victim, w.trusted),
            "defense": w.defense,
            "oracle η (%)": points(w.eta),
            "95 % interval (%)": percents(w.interval),
            "sd (pp)": points(w.sd),
            "triggered images": w.n_triggered,
            "seeds": w.n_seeds,
            "tried": w.tried,
            "oracle CDA (%)": points(w.cda),
            "CDA lost (pp)": points(w.cda_loss),
            "oracle step": w.step,
            "rule": w.rule,
            "settings": settings(w.method),
        }
        for w in winners(records, "oracle")
    ]
    return frame(rows, COLUMNS)
