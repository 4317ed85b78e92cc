"""Each configuration on the real attack, stopped where a defender who sees no trigger would stop.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-E. Deviation: the paper stops at the
oracle's point; that stands in ``oracle``."""

from collections.abc import Sequence

import pandas as pd

from results.selection.configurations import configurations, least, spread
from results.selection.labels import percents, settings
from results.stats.intervals import wilson
from results.tables._columns import frame, of_victim, points
from trials.spec import Record

COLUMNS = (
    *(
        "dataset",
        "model",
        "attack",
        "victim seed",
        "r (%)",
        "defense",
        "η: ASR left (%)",
        "95 % interval (%)",
    ),
    *(
        "sd (pp)",
        "triggered images",
        "seeds",
        "CDA (%)",
        "CDA lost (pp)",
        "ASR before (%)",
        "step",
        "rule",
        "settings",
    ),
)


def table(records: Sequence[Record], /, *, rule: str = "last_before_delta") -> pd.DataFrame:
    """One row a configuration that ran to its end (not one frozen by tuning), grouped by task and
    defense.

    Raises:
        SpecError: unknown rule.
    """
    whole = [r for r in records if not r.trial.game.params.get("stop_at")]
    rows = []
    for c in configurations(whole, rule, game="robustness"):
        if c.point is None:
            continue
        n = least(c.records, "n_triggered")
        rows.append(
            {
                **of_victim(c.victim, c.task.trusted),
                "defense": c.choice.name,
                "η: ASR left (%)": points(c.point.asr),
                "95 % interval (%)": percents(wilson(c.point.asr, n)) if n else None,
                "sd (pp)": points(spread(c.records, c.point.step)),
                "triggered images": n,
                "seeds": len(c.records),
                "CDA (%)": points(c.point.cda),
                "CDA lost (pp)": points(c.curve[0].cda - c.point.cda),
                "ASR before (%)": points(c.curve[0].asr),
                "step": c.point.step,
                "rule": rule,
                "settings": settings(c.choice),
            }
        )
    return frame(
        sorted(rows, key=lambda row: (row["dataset"], row["attack"], row["r (%)"], row["defense"])),
        COLUMNS,
    )
