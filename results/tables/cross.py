"""Where the triggers of several attacks on one victim lead, each to its own target and the others'.

Of each trigger's images those are counted whose true class is neither its own target nor the one
asked for. Two attacks with one target, or a trigger that looks like a class, show here.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.selection.configurations import of_game
from results.selection.labels import attack
from results.selection.rules import OF_ATTACK
from results.tables._columns import frame, points
from trials.spec import Record

COLUMNS = ("victim", "dataset", "model", "attack", "seed", "trigger")
_CROSS = "cross/"


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a trigger of a victim of several attacks, before any defense; beside ``COLUMNS`` one
    column for each attack's target, the share of images that the trigger leads there.
    """
    rows = list[dict[str, Any]]()
    targets = dict[str, None]()
    for r in of_game(records, "training"):
        led = [k for k in r.metrics if k.startswith(_CROSS)]
        names = [k.removeprefix(OF_ATTACK) for k in r.metrics if k.startswith(OF_ATTACK)]
        for trigger in names if led else ():
            row = {
                "victim": r.trial.victim.id,
                "dataset": r.trial.victim.dataset.name,
                "model": r.trial.victim.model.name,
                "attack": attack(r.trial.victim),
                "seed": r.trial.victim.seed,
                "trigger": trigger,
            }
            for other in names:
                own = other == trigger
                key = f"{OF_ATTACK}{other}" if own else f"{_CROSS}{trigger}/{other}"
                row[_column(other)] = points(r.metrics.get(key))
                targets[_column(other)] = None
            rows.append(row)
    return frame(rows, (*COLUMNS, *targets))


def _column(attack: str) -> str:
    return f"to {attack}'s target (%)"
