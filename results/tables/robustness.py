"""Each configuration on the real attack, stopped where a defender who sees no trigger would stop.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-E. Deviation: the paper stops at the
oracle's point; that stands in ``oracle``.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.selection.configurations import Configuration, configurations, least, spread
from results.selection.labels import of_attack, percents, settings
from results.selection.rules import OF_ATTACK
from results.stats.intervals import wilson
from results.tables._columns import frame, of_victim, points
from trials.spec import Point, Record

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
    defense; where a victim has several attacks, one more for each.

    Raises:
        SpecError: unknown rule.
    """
    whole = [r for r in records if not r.trial.game.params.get("stop_at")]
    rows = []
    for c in configurations(whole, rule, game="robustness"):
        if c.point is None:
            continue
        names = [k.removeprefix(OF_ATTACK) for k in c.point.extra if k.startswith(OF_ATTACK)]
        rows += [_row(c, c.point, rule, name) for name in ("", *names)]
    return frame(
        sorted(rows, key=lambda row: (row["dataset"], row["attack"], row["r (%)"], row["defense"])),
        COLUMNS,
    )


def _row(c: Configuration, point: Point, rule: str, one: str) -> dict[str, Any]:
    """The row of a configuration; ``one`` is the attack that it is about, empty for all."""
    start = c.curve[0]
    asr, asr0 = (p.extra[OF_ATTACK + one] if one else p.asr for p in (point, start))
    n = least(c.records, f"n_triggered/{one}" if one else "n_triggered")
    return {
        **of_victim(c.victim, c.task.trusted),
        "attack": of_attack(one, c.victim),
        "defense": c.method.name,
        "η: ASR left (%)": points(asr),
        "95 % interval (%)": percents(wilson(asr, n)) if n else None,
        "sd (pp)": None if one else points(spread(c.records, point.step)),
        "triggered images": n,
        "seeds": len(c.records),
        "CDA (%)": points(point.cda),
        "CDA lost (pp)": points(start.cda - point.cda),
        "ASR before (%)": points(asr0),
        "step": point.step,
        "rule": rule,
        "settings": settings(c.method),
    }
