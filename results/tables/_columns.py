"""Columns that several tables share."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.selection.labels import attack
from trials.spec import Victim


def of_victim(victim: Victim, trusted: float) -> dict[str, Any]:
    """Dataset, model, attack, the victim's seed, and r in percent."""
    return {
        "dataset": victim.dataset.name,
        "model": victim.model.name,
        "attack": attack(victim),
        "victim seed": victim.seed,
        "r (%)": 100 * trusted,
    }


def points(value: float | None) -> float | None:
    """A fraction in percent (points), rounded to two digits, so that a table can be compared and
    exported.
    """
    return None if value is None else round(100 * value, 2) + 0.0


def frame(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a frame with exactly these columns, also where there is no row; missing values stay
    None.
    """
    values = [tuple(map(row.get, columns)) for row in rows]
    return pd.DataFrame(values, columns=list(columns), dtype=object)
