"""The self-poisoned copies: did the planted backdoors take, what did they cost, how far did the
weights move?
"""

from collections.abc import Sequence

import pandas as pd

from results.selection.configurations import of_game
from results.tables._columns import frame, of_victim, points
from trials.spec import Record

COLUMNS = (
    *("dataset", "model", "attack", "victim seed", "r (%)", "seed", "copy"),
    *("planted ASR (%)", "ASR before (%)", "CDA (%)", "CDA before (%)", "steps", "cosine distance"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a copy. The cosine distance is between the weights before and after: small means a
    shallow backdoor.
    """
    rows = [
        {
            **of_victim(r.trial.victim, r.trial.trusted),
            "seed": r.trial.seed,
            "copy": r.trial.game.params.get("copy"),
            "planted ASR (%)": points(r.metrics.get("asr")),
            "ASR before (%)": points(r.metrics.get("asr_before")),
            "CDA (%)": points(r.metrics.get("cda")),
            "CDA before (%)": points(r.metrics.get("cda_before")),
            "steps": int(r.metrics["steps"]) if "steps" in r.metrics else None,
            "cosine distance": r.metrics.get("cosine"),
        }
        for r in of_game(records, "self_poison")
        if r.status == "done"
    ]
    return frame(rows, COLUMNS)
