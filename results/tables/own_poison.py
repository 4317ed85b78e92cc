"""What a defender sees of data filters who knows of no poisoned row: what each finds of their own
poison, and takes of trusted images held back.

Source: this project's; nothing is published of it.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.selection.filter_winner import FilterWinner, filter_winners
from results.selection.labels import rejection, settings
from results.tables._columns import frame, of_victim, points
from results.tables._filters import SET_COLUMNS
from trials.spec import Record

COLUMNS = (
    *SET_COLUMNS,
    *("seed", "attacks learned", "least found (%)", "mean found (%)", "clean images taken (%)"),
    *("removed (%)", "estimated poison (%)", "CDA before (%)", "CDA (%)", "own trigger left (pp)"),
    *("found of each", "settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a filter, setting, threshold and seed, as a defender orders them."""
    return frame([_row(w) for w in filter_winners(records)], COLUMNS)


def _row(w: FilterWinner) -> dict[str, Any]:
    filtering, scored = w.scored.trial.victim.filter, w.scored.metrics
    assert filtering is not None
    after = w.trained.metrics if w.trained else {}
    each = (f"{k} {100 * scored[f'own_recall/{k}']:.0f}" for k in w.attacks)
    return {
        **of_victim(w.scored.trial.victim, filtering.trusted),
        "filter": filtering.method.name,
        "rejects": rejection(filtering),
        "seed": filtering.seed,
        "attacks learned": f"{len(w.attacks) - len(w.unlearned)} of {len(w.attacks)}",
        "least found (%)": points(w.recall),
        "mean found (%)": points(scored["own_recall"]),
        "clean images taken (%)": points(w.fpr),
        "removed (%)": points(scored["removed"]),
        "estimated poison (%)": points(w.poisoned),
        "CDA before (%)": points(after.get("cda_held_before")),
        "CDA (%)": points(after.get("cda_held")),
        "own trigger left (pp)": points(after.get("own_left")),
        "found of each": ", ".join(each),
        "settings": settings(filtering.method) or None,
    }
