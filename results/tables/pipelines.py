"""Does the attack work, or the pipeline? ASR by the way in which poisoned images reach the
training.

Source: the preliminary release of Lukas and Kerschbaum 2023 serves poisoned images that were not
normalised, so that the missing normalisation is a trigger by itself.
Deviation: victims of that pipeline are asked twice more: without any trigger, and with it on
normalised images.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd

from results.comparison.filtered_sets import trained_on_all
from results.selection.grouping import AttackConfig, attack_config_of
from results.selection.labels import attack, percents
from results.tables._columns import frame, points
from results.tables._ranges import ATTACK_COLUMNS, mean, of_attack, over_victims
from trials.spec import Record

ASKED = {
    "CDA": "cda",
    "ASR as trained": "asr",
    "not normalised, no trigger": "asr_no_trigger",
    "normalised, trigger": "asr_normalised",
}
COLUMNS = (
    *(*ATTACK_COLUMNS, "pipeline", "opacity", "victims"),
    *map("".join, product(ASKED, (" (%)", " 95 % interval (%)"))),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row an attack, pipeline and budget; none where no victim was trained by the release's
    pipeline.
    """
    groups: dict[AttackConfig, list[Record]] = defaultdict(list)
    for r in trained_on_all(records):
        if r.status == "done" and any("pipeline" in a.params for a in r.trial.victim.attacks):
            groups[attack_config_of(r.trial.victim)].append(r)
    rows = [_row(group) for group in groups.values()]
    if not any(row["pipeline"] == "release" for row in rows):
        rows = []
    order = ("dataset", "model", "attack", "pipeline", "opacity", "m")
    return frame(sorted(rows, key=lambda row: tuple(row[k] for k in order)), COLUMNS)


def _row(group: Sequence[Record]) -> dict[str, Any]:
    v = group[0].trial.victim
    (own, *_) = (a for a in v.attacks if "pipeline" in a.params)
    row = {
        **of_attack(v, attack(v).split(" (")[0]),
        "pipeline": str(own.params["pipeline"]),
        "opacity": float(own.params.get("alpha", 1.0)),
        "victims": len(group),
    }
    for name, metric in ASKED.items():
        seen = {r.trial.victim.id: r.metrics[metric] for r in group if metric in r.metrics}
        row |= {
            f"{name} (%)": points(mean(seen)),
            f"{name} 95 % interval (%)": percents(over_victims(seen)),
        }
    return row
