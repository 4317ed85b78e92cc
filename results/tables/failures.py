"""What failed or was pruned: counted, listed, never a number."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.selection.labels import settings
from results.tables._columns import frame, of_victim
from trials.spec import Record

COLUMNS = (
    *(
        "trial",
        "status",
        "game",
        "defense",
        "dataset",
        "model",
        "attack",
        "victim seed",
        "r (%)",
        "seed",
    ),
    *("last step", "why", "settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a failed or pruned trial, failed first; ``why`` is the last line of its traceback."""
    unfinished = [r for r in records if r.status != "done"]
    unfinished.sort(key=lambda r: (r.status, r.trial.game.name, r.trial.id))
    return frame([_row(r) for r in unfinished], COLUMNS)


def _row(r: Record) -> dict[str, Any]:
    told = [line for line in (r.error or "").splitlines() if line.strip()]
    return {
        "trial": r.trial.id,
        "status": r.status,
        "game": r.trial.game.name,
        "defense": r.trial.method.name if r.trial.method else None,
        **of_victim(r.trial.victim, r.trial.trusted),
        "seed": r.trial.seed,
        "last step": max((p.step for p in r.curve), default=None),
        "why": told[-1] if told else None,
        "settings": settings(r.trial.method) if r.trial.method else None,
    }
