"""The victims before any defense."""

from collections.abc import Sequence

import pandas as pd

from results.comparison.filtered_sets import trained_on_all
from results.selection.labels import attack, percents, settings
from results.stats.intervals import wilson
from results.tables._columns import frame, points
from trials.spec import Record

COLUMNS = (
    *(
        "victim",
        "dataset",
        "model",
        "attack",
        "seed",
        "CDA (%)",
        "ASR (%)",
        "95 % interval of the ASR (%)",
    ),
    *("clean images", "triggered images", "attack's settings", "training"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a victim that was trained or taken in; a clean or unknown victim has no ASR."""
    rows = []
    for r in trained_on_all(records):
        v, m = r.trial.victim, r.metrics
        if r.status != "done":
            continue
        n = int(m.get("n_triggered", 0))
        rows.append(
            {
                "victim": v.id,
                "dataset": v.dataset.name,
                "model": v.model.name,
                "attack": attack(v),
                "seed": v.seed,
                "CDA (%)": points(m.get("cda")),
                "ASR (%)": points(m.get("asr")),
                "95 % interval of the ASR (%)": percents(wilson(m["asr"], n))
                if n and "asr" in m
                else None,
                "clean images": int(m["n_clean"]) if "n_clean" in m else None,
                "triggered images": n or None,
                "attack's settings": "; ".join(settings(a) for a in v.attacks) or None,
                "training": f"{v.training.name}: {settings(v.training)}".removesuffix(": "),
            }
        )
    return frame(rows, COLUMNS)
