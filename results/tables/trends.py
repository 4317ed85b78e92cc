"""Does poisoning more make an attack harder to repair and easier to detect? One coefficient a
claim.

Source: see ``results.comparison.budget_trends``.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.comparison.budget_trends import Trend, trends
from results.selection.labels import percent
from results.tables._columns import frame
from results.tables._ranges import share, span
from trials.spec import Record

COLUMNS = (
    *(
        "dataset",
        "model",
        "attack",
        "r (%)",
        "number",
        "defense or detector",
        "budgets m",
        "at each m",
    ),
    *("Spearman with m", "95 % interval", "p of no rise", "models", "over the means only"),
)


def table(records: Sequence[Record], /, *, rule: str | None = None) -> pd.DataFrame:
    """One row an attack with several budgets and a defense (η, in percent) or a detector (ρ).

    Raises:
        SpecError: unknown rule.
    """
    return frame([_row(t) for t in trends(records, rule)], COLUMNS)


def _row(t: Trend) -> dict[str, Any]:
    as_text = percent if t.of == "η" else "{:.2f}".format
    return {
        "dataset": t.victim.dataset.name,
        "model": t.victim.model.name,
        "attack": " + ".join(a.name for a in t.victim.attacks),
        "r (%)": 100 * t.trusted,
        "number": f"{t.of} (%)" if t.of == "η" else t.of,
        "defense or detector": t.method,
        "budgets m": ", ".join(map(str, t.budgets)),
        "at each m": ", ".join(map(as_text, t.means)),
        "Spearman with m": share(t.models.value),
        "95 % interval": span(t.models.interval),
        "p of no rise": share(t.models.p),
        "models": t.models.n,
        "over the means only": share(t.budgets_only),
    }
