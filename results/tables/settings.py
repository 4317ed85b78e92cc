"""Each winner's settings beside the optimum that the paper found.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Table V (r = 1 %, CIFAR-10 and ImageNet).
"""

from collections.abc import Sequence

import pandas as pd

from results.reference import paper
from results.selection.labels import value
from results.selection.rules import DEFAULT_RULE
from results.selection.winners import winners
from results.tables._columns import frame, of_victim
from trials.spec import Record

COLUMNS = (
    *("dataset", "model", "attack", "victim seed", "r (%)"),
    *("defense", "setting", "chosen here", "Table V of the paper", "rule"),
)


def table(records: Sequence[Record], /, *, rule: str = DEFAULT_RULE) -> pd.DataFrame:
    """One row a defense and setting; the step at which to stop is the first. None where the paper
    names none.

    Raises:
        SpecError: unknown rule.
    """
    rows = []
    for w in winners(records, rule):
        optimum = paper.optimum(w.defense, w.victim.dataset.name)
        # at step 0 the model is as it was, whatever the settings
        used = w.method.params if w.step else {}
        ours = {"stop at step": str(w.step)} | {k: value(v) for k, v in used.items()}
        # a weight of 0 is no setting
        unused = [k for k, v in optimum.items() if k not in ours and v != "0"]
        for name in [*ours, *unused]:
            rows.append(
                {
                    **of_victim(w.victim, w.trusted),
                    "defense": w.defense,
                    "setting": name,
                    "chosen here": ours.get(name),
                    "Table V of the paper": optimum.get(name),
                    "rule": rule,
                }
            )
    return frame(rows, COLUMNS)
