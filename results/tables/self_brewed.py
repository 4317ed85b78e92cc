"""Training chosen by brewing against oneself: what a defender's own poison does under each recipe
and filter, beside what the attacker's does. Success is no ASR.

Source: this project's; nothing is published of it.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pandas as pd

from results.comparison.self_brewed import Group, SelfBrewed, self_brewed
from results.selection.labels import attack, rejection, settings
from results.tables._columns import frame, points
from trials.spec import Record

TUNED, HINDSIGHT = "as each defender chooses", "best in hindsight"
COLUMNS = (
    *("dataset", "model", "attack", "training", "filter", "rejects", "defenders that take it"),
    *("own success (%)", "own control (%)", "CDA on images held back (%)", "on the own front"),
    *(
        "success (%)",
        "control (%)",
        "CDA (%)",
        "CDA lost (pp)",
        "defenders",
        "own draws",
        "settings",
        "filter's settings",
    ),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row a setting, over all defenders; then what each of them takes, and the best setting in
    hindsight. ``own draws`` are the defenders with trusted images and pairs of their own;
    ``on the own front`` are settings that none beats in own success and held-back CDA.
    """
    rows = chain.from_iterable(map(_rows, self_brewed(records)))
    return frame(list(rows), COLUMNS)


def _rows(found: SelfBrewed) -> list[dict[str, Any]]:
    front = set(map(id, found.own_front))
    rows = [
        {
            **_row(s),
            **_setting(s),
            "defenders that take it": found.times(s),
            "on the own front": id(s) in front,
        }
        for s in found.settings
    ]
    best = found.hindsight
    rows.append({**_row(found.taken), "training": TUNED})
    rows.append({**_row(best), **_setting(best), "training": f"{HINDSIGHT}: {_name(best)}"})
    return rows


def _setting(group: Group) -> dict[str, Any]:
    filtering = group.victim.filter
    return {
        "training": _name(group),
        "filter": filtering.method.name if filtering else None,
        "rejects": rejection(filtering) if filtering else None,
        "settings": settings(group.victim.training) or None,
        "filter's settings": (settings(filtering.method) or None) if filtering else None,
    }


def _name(group: Group) -> str:
    return group.victim.training.name


def _row(group: Group) -> dict[str, Any]:
    return {
        "dataset": group.victim.dataset.name,
        "model": group.victim.model.name,
        "attack": attack(group.victim),
        "own success (%)": points(group.own("success")),
        "own control (%)": points(group.own("success_control")),
        "CDA on images held back (%)": points(group.own("cda_control")),
        "success (%)": points(group.judged("success")),
        "control (%)": points(group.judged("success_control")),
        "CDA (%)": points(group.judged("cda")),
        "CDA lost (pp)": points(group.judged("cda_control") - group.judged("cda")),
        "defenders": len(group.options),
        "own draws": group.draws,
    }
